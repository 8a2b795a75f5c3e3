"""The `threadwax` command: reads the settings once and hands them to the part that was asked for.

Holds no logic of a part, and imports a part only when it is started: every process starts here.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

import click

from shared import lifecycle

if TYPE_CHECKING:
    from shared.settings import Settings

SETTINGS_EXIT_CODE: Final = 2
"""As click's own for a wrong command line."""

ASK_TIMEOUT_S: Final = 120.0
"""Longer than the model is given before the question is answered with a failure notice."""

Command = TypeVar("Command", bound=Callable[..., None])
Wanted = TypeVar("Wanted")

_EPILOG: Final = """\b
First steps, without any account:
  threadwax up                      everything on this machine, and a chat
  threadwax ask --user ada "hello"  one question, from another terminal
  threadwax doctor                  what is configured, what answers, what to do

\b
A real model instead of the demo model:
  OPENAI_API_KEY=... threadwax up
  OPENAI_BASE_URL=http://127.0.0.1:11434/v1 THREADWAX_MODEL=qwen3 threadwax up

Settings are environment variables or lines of a file .env; .env.example lists them all.
"""


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def threadwax() -> None:
    """A chat bot that loses no message and answers none twice.

    `up` starts everything on one machine. Every part is also a command of its own, to be started,
    stopped and upgraded alone.
    """


def _long_running(command: Command) -> Command:
    with_port = click.option(
        "--http-port",
        type=click.IntRange(0, 65535),
        help="Serve /healthz, /readyz and /metrics there; 0 takes a free port.",
    )
    with_level = click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        help="How much is logged.",
    )
    return with_port(with_level(command))


def _settings(
    process: str, *, http_port: int | None = None, log_level: str | None = None
) -> "Settings":
    """The settings, with what the command line says instead; sets up the logging."""
    from shared import log  # noqa: PLC0415
    from shared.settings import Settings  # noqa: PLC0415

    settings = _read(Settings)
    changes: dict[str, object] = {}
    if http_port is not None:
        changes["http_port"] = http_port
    if log_level is not None:
        changes["log_level"] = log_level
    settings = settings.model_copy(update=changes)
    log.set_up(settings.log_level, process=process)
    return settings


def _read(which: Callable[[], Wanted]) -> Wanted:
    """The settings of one class; a wrong one ends the process with a line that names it."""
    from pydantic import ValidationError  # noqa: PLC0415
    from pydantic_settings import SettingsError  # noqa: PLC0415

    try:
        return which()
    except ValidationError as error:
        # Without the values: a wrong one may be a secret all the same.
        for problem in error.errors(include_url=False, include_context=False, include_input=False):
            variable = ".".join(str(part) for part in problem["loc"])
            click.echo(f"{variable}: {problem['msg']}", err=True)
    except SettingsError as error:
        click.echo(str(error), err=True)
    sys.exit(SETTINGS_EXIT_CODE)


@threadwax.command()
@click.option(
    "--chat/--no-chat",
    default=None,
    help="With a chat in this terminal; by default if there is a terminal.",
)
@_long_running
def up(*, chat: bool | None, http_port: int | None, log_level: str | None) -> None:
    """Start everything on this machine; Ctrl-C stops it.

    NATS (unless NATS_URL is set), the demo model (unless a model is configured), the dataflow,
    the gateway and the chat. One line a process on standard error; a process that dies is
    started again. With --http-port N the parts serve their status on N+1, N+2, ...
    """
    from ops.up import main  # noqa: PLC0415

    with_chat = sys.stdin.isatty() if chat is None else chat
    sys.exit(main(_settings("up", http_port=http_port, log_level=log_level), chat=with_chat))


@threadwax.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Where to listen on loopback; 0 takes a free port. By default the last one, else 4222.",
)
@click.option(
    "--setup-only",
    is_flag=True,
    help="Only create or update the streams on the server of NATS_URL.",
)
@_long_running
def nats(
    *, port: int | None, setup_only: bool, http_port: int | None, log_level: str | None
) -> None:
    """Run the embedded NATS server with JetStream, which syncs before it acknowledges."""
    from ops.nats_command import main, set_up_only  # noqa: PLC0415

    settings = _settings("nats", http_port=http_port, log_level=log_level)
    sys.exit(set_up_only(settings) if setup_only else main(settings, port=port))


@threadwax.command()
@_long_running
def model(*, http_port: int | None, log_level: str | None) -> None:
    """Run the embedded demo model: small, offline, and only good enough to see the bot work."""
    from ops.embedded_model import main  # noqa: PLC0415

    sys.exit(main(_settings("model", http_port=http_port, log_level=log_level)))


@threadwax.command()
@click.option(
    "--processes",
    default=1,
    type=click.IntRange(1, 16),
    help="Processes that share the users on this machine; the number may change between runs.",
)
@_long_running
def dataflow(*, processes: int, http_port: int | None, log_level: str | None) -> None:
    """Run the conversations: read the prompts, ask the model, write the replies.

    On several machines: THREADWAX_CLUSTER (the same everywhere) and THREADWAX_PROCESS_ID.
    """
    # With 700, Python's own, a call of the model takes a sixth more processor time. With 50,000
    # what broken connections leave in cycles grew for half an hour at a time: sockets, tracebacks.
    with lifecycle.imports(garbage_after=5_000):
        from dataflow.run import main  # noqa: PLC0415
        from ops import cluster  # noqa: PLC0415

    settings = _settings("dataflow", http_port=http_port, log_level=log_level)
    sys.exit(main(settings) if processes == 1 else cluster.main(settings, processes))


@threadwax.command()
@_long_running
def gateway(*, http_port: int | None, log_level: str | None) -> None:
    """Answer plain NATS requests on the subject `prompts`."""
    with lifecycle.imports():
        from bots.gateway.run import main  # noqa: PLC0415

    sys.exit(main(_settings("gateway", http_port=http_port, log_level=log_level)))


@threadwax.command()
@_long_running
def slack(*, http_port: int | None, log_level: str | None) -> None:
    """Run the Slack adapter; needs SLACK_BOT_TOKEN and SLACK_APP_TOKEN (docs/slack.md)."""
    with lifecycle.imports():
        from bots.slack.run import main  # noqa: PLC0415
        from bots.slack.settings import SlackSettings  # noqa: PLC0415

    settings = _settings("slack", http_port=http_port, log_level=log_level)
    sys.exit(main(settings, _read(SlackSettings)))


@threadwax.command()
@_long_running
def discord(*, http_port: int | None, log_level: str | None) -> None:
    """Run the Discord adapter; needs DISCORD_TOKEN."""
    with lifecycle.imports():
        from bots.discord.run import main  # noqa: PLC0415
        from bots.discord.settings import DiscordSettings  # noqa: PLC0415

    settings = _settings("discord", http_port=http_port, log_level=log_level)
    sys.exit(main(settings, _read(DiscordSettings)))


@threadwax.command()
@click.option("--user", help="Whose conversation it is; by default your user name here.")
def chat(*, user: str | None) -> None:
    """Chat in this terminal; with piped input each line is a question.

    Exit code 0: every question was answered. 1: a question could not be sent or was answered with
    a notice of failure (piped input), or a chat as this user is already open. 2: wrong usage.
    130, 143: Ctrl-C or SIGTERM ended it.
    """
    import getpass  # noqa: PLC0415

    from bots.terminal.run import main  # noqa: PLC0415

    sys.exit(main(_settings("chat"), user or getpass.getuser()))


@threadwax.command()
@click.option("--user", required=True, help="Whose conversation it is: any name.")
@click.option("--timeout", "timeout_s", default=ASK_TIMEOUT_S, help="Seconds to wait.")
@click.argument("text")
def ask(*, user: str, timeout_s: float, text: str) -> None:
    """Ask one question and print the answer.

    Exit code 0: it was answered. 1: it was refused, answered with a notice of failure, or not
    answered in time; standard error says which. 2: wrong usage. 130: Ctrl-C.
    """
    from ops.ask import main  # noqa: PLC0415

    sys.exit(main(_settings("ask"), user, text, timeout_s))


@threadwax.command()
@click.argument("platform", required=False)
def doctor(*, platform: str | None) -> None:
    """Check what is configured and what answers, and say what to do about the rest."""
    from ops.doctor import main  # noqa: PLC0415

    sys.exit(main(_settings("doctor"), platform))


def main() -> None:
    """The entry point."""
    lifecycle.die_with_parent()
    threadwax(prog_name="threadwax")


if __name__ == "__main__":
    main()
