"""The entry point of `threadwax` and `python -m ops`.

Sets up Ctrl-C before it imports our code, so that an interrupt during imports prints no traceback.
"""

import signal


def main() -> None:
    """Runs the command."""
    # Until a command handles signals itself, Ctrl-C ends it at once and silently.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    from ops.cli import main as command

    command()


if __name__ == "__main__":
    main()
