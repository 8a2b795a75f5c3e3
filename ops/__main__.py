"""Where `threadwax` and `python -m ops` begin.

Imports nothing of ours at first, because an interrupt amid imports is pages of traceback.
"""

import signal


def main() -> None:
    """The entry point."""
    # Until a command listens for signals itself, Ctrl-C ends it at once and without a word.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    from ops.cli import main as command  # noqa: PLC0415

    command()


if __name__ == "__main__":
    main()
