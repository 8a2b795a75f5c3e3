"""The `threadwax` command: reads the settings once and hands them to the part that was asked for.

Holds no logic of a part, and imports a part only when it is started: every process starts here.
"""

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

import click

from shared import lifecycle, private_file, tuning

if TYPE_CHECKING:
    from shared.settings import Settings

ASK_TIMEOUT_S: Final = 120.0
"""Longer than the model is given before the question is answered with a failure notice."""

NAME_WIDTH: Final = 10
"""As `up` writes its lines."""

Command = TypeVar("Command", bound=Callable[..., None])

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
Every start prints which file that is, and where the data is.

\b
Exit codes:
  0   done, or stopped as asked
  1   it failed: no answer, a server that cannot be used, a check that fails
  2   the command line or a setting is wrong
  75  temporary: start it again
  78  a person has to change something first; starting it again does not help

\b
Completion for this shell (bash; zsh and fish work likewise):
  eval "$(_THREADWAX_COMPLETE=bash_source threadwax)"
"""


class _Commands(click.Group):
    """A group whose list of commands shows each first sentence whole."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list; click itself cuts what exceeds one line."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, found.get_short_help_str(sys.maxsize)) for name, found in commands if found]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(
    cls=_Commands,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(package_name="threadwax", message="%(prog)s %(version)s")
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
    from ops.settings import read  # noqa: PLC0415
    from shared import log  # noqa: PLC0415
    from shared.settings import Settings  # noqa: PLC0415

    settings = read(Settings)
    changes: dict[str, object] = {}
    if http_port is not None:
        changes["http_port"] = http_port
    if log_level is not None:
        changes["log_level"] = log_level
    settings = settings.model_copy(update=changes)
    log.set_up(settings.log_level, process=process)
    return settings


def _with_data(
    process: str, *, http_port: int | None = None, log_level: str | None = None
) -> "Settings":
    """As `_settings`, for a command that writes into the data folder: makes it private first."""
    settings = _settings(process, http_port=http_port, log_level=log_level)
    _introduce(process, settings)
    try:
        private_file.make_private(settings.home)
    except OSError as error:
        from ops.folder_check import ANOTHER, fault_of  # noqa: PLC0415

        fault = fault_of(settings.home) or f"{settings.home}: {error.strerror or error}: {ANOTHER}"
        lifecycle.say(f"the data folder cannot be used: {fault}")
        sys.exit(lifecycle.CANNOT_START)
    return settings


def _introduce(process: str, settings: "Settings") -> None:
    """Prints where the data is and what is used; a part of `up` does not repeat it."""
    if lifecycle.supervised() or (process == "chat" and "THREADWAX_HOME" in os.environ):
        return
    from ops.startup_summary import new_data, overview  # noqa: PLC0415

    lines = list(new_data(settings) if process == "chat" else overview(settings, process))
    if process in {"up", "chat"} or sys.stderr.isatty():
        for name, text in lines:
            click.echo(f"{name:<{NAME_WIDTH}} {text}", err=True)
    else:
        from shared.log import logger  # noqa: PLC0415

        logger().info("starting", **dict(lines))


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
    the gateway and the chat. One line per process on standard error; a process that dies is
    started again. With --http-port N the parts serve their status on N+1, N+2, ...
    """
    from ops.up import main  # noqa: PLC0415

    with_chat = sys.stdin.isatty() if chat is None else chat
    settings = _with_data("up", http_port=http_port, log_level=log_level)
    sys.exit(main(settings, chat=with_chat))


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
    from ops.nats import main, set_up_only  # noqa: PLC0415

    if setup_only:  # it needs no data folder
        sys.exit(set_up_only(_settings("nats", http_port=http_port, log_level=log_level)))
    sys.exit(main(_with_data("nats", http_port=http_port, log_level=log_level), port=port))


@threadwax.command()
@_long_running
def model(*, http_port: int | None, log_level: str | None) -> None:
    """Run the embedded demo model: small, offline, and only good enough to see the bot work."""
    from ops.embedded_model import main  # noqa: PLC0415

    sys.exit(main(_with_data("model", http_port=http_port, log_level=log_level)))


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
    with tuning.imports(garbage_after=tuning.DATAFLOW_GARBAGE_AFTER):
        from dataflow.run import main  # noqa: PLC0415
        from ops import cluster  # noqa: PLC0415

    settings = _with_data("dataflow", http_port=http_port, log_level=log_level)
    sys.exit(main(settings) if processes == 1 else cluster.main(settings, processes))


@threadwax.command()
@_long_running
def gateway(*, http_port: int | None, log_level: str | None) -> None:
    """Answer plain NATS requests on the subject `prompts`."""
    with tuning.imports():
        from bots.gateway.run import main  # noqa: PLC0415

    sys.exit(main(_with_data("gateway", http_port=http_port, log_level=log_level)))


@threadwax.command()
@_long_running
def slack(*, http_port: int | None, log_level: str | None) -> None:
    """Run the Slack adapter; needs SLACK_BOT_TOKEN and SLACK_APP_TOKEN (docs/slack.md)."""
    with tuning.imports():
        from bots.slack.run import main  # noqa: PLC0415
        from bots.slack.settings import SlackSettings  # noqa: PLC0415
        from ops.settings import read  # noqa: PLC0415

    settings = _with_data("slack", http_port=http_port, log_level=log_level)
    sys.exit(main(settings, read(SlackSettings)))


@threadwax.command()
@_long_running
def discord(*, http_port: int | None, log_level: str | None) -> None:
    """Run the Discord adapter; needs DISCORD_TOKEN."""
    with tuning.imports():
        from bots.discord.run import main  # noqa: PLC0415
        from bots.discord.settings import DiscordSettings  # noqa: PLC0415
        from ops.settings import read  # noqa: PLC0415

    settings = _with_data("discord", http_port=http_port, log_level=log_level)
    sys.exit(main(settings, read(DiscordSettings)))


@threadwax.command()
@click.option("--user", help="Whose conversation it is; by default your user name here.")
def chat(*, user: str | None) -> None:
    """Chat in this terminal; with piped input each line is a question.

    Exit code 0: every question was answered. 1: a question could not be sent or was answered with
    a notice of failure (piped input), or a chat as this user is already open. 2: wrong usage.
    130, 143: Ctrl-C or SIGTERM ended it.
    """
    from bots.terminal.run import main, user_name  # noqa: PLC0415

    sys.exit(main(_with_data("chat"), user or user_name()))


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
    lifecycle.exit_on_stop_signal()
    lifecycle.die_with_parent()
    private_file.make_private_by_default()
    threadwax(prog_name="threadwax")


if __name__ == "__main__":
    main()
