"""The `threadwax` command: reads the settings once and starts the requested part.

Every process starts here, so a part is imported only when it is started.
"""

import sys
from pathlib import Path
from typing import Final, NoReturn

import click

from ops import cli_reports
from ops.backup.commands import backup, restore
from ops.cli_settings import long_running, read_settings, settings_and_data
from ops.dlq.commands import dlq
from ops.export.commands import export
from ops.finetune.commands import finetune
from ops.forget.commands import forget
from ops.help import EPILOG, FullHelpGroup
from ops.rehearse.command import rehearse
from shared import lifecycle, private_file, tuning

ASK_TIMEOUT_S: Final = 120.0
"""Longer than the time after which the dataflow gives up and answers with a failure notice."""


@click.group(
    cls=FullHelpGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(package_name="threadwax", message="%(prog)s %(version)s")
def threadwax() -> None:
    """A chat bot that never loses a message and never answers one twice.

    `up` starts everything on one machine. In production, every part is a command of its own, which
    can be started, stopped and upgraded alone.
    """


@threadwax.command()
@click.option(
    "--chat/--no-chat",
    default=None,
    help="Open a chat in this terminal. Default: if standard input is a terminal.",
)
@long_running
def up(*, chat: bool | None, http_port: int | None, log_level: str | None) -> None:
    """Start everything on this machine; Ctrl-C stops it.

    Starts NATS (unless NATS_URL is set), the demo model (unless a model is configured), the
    dataflow, the recorder, the gateway, the adapters whose tokens are set, and a chat. Prints the
    status of each process on standard error, and restarts processes that die. With --http-port N,
    the parts serve their status on N+1, N+2, ...
    """
    from ops.up import main

    with_chat = sys.stdin.isatty() if chat is None else chat
    settings = settings_and_data("up", http_port=http_port, log_level=log_level)
    sys.exit(main(settings, run_command, chat=with_chat))


@threadwax.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="The loopback port to listen on; 0 chooses a free one. Default: the last one, or 4222.",
)
@click.option(
    "--setup-only",
    is_flag=True,
    help="Create or update the streams on the server of NATS_URL, and exit.",
)
@long_running
def nats(
    *, port: int | None, setup_only: bool, http_port: int | None, log_level: str | None
) -> None:
    """Run the embedded NATS server, which syncs messages to disk before it acknowledges them."""
    if setup_only:  # needs no data folder
        from ops.nats import set_up_only

        sys.exit(set_up_only(read_settings("nats", http_port=http_port, log_level=log_level)))
    from ops.embedded_nats import main

    sys.exit(main(settings_and_data("nats", http_port=http_port, log_level=log_level), port=port))


@threadwax.command()
@click.option(
    "--hf",
    "hf_folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Serve the Hugging Face model in this folder instead; needs the extra `finetune`.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="The loopback port for --hf. Default: a free one.",
)
@long_running
def model(
    *, hf_folder: Path | None, port: int | None, http_port: int | None, log_level: str | None
) -> None:
    """Run the demo model: small, offline, often wrong, but enough to try the bot.

    THREADWAX_MODEL=local:NAME adds an adapter that `threadwax finetune` has trained.
    """
    if hf_folder is not None:
        from ops.hf_model import main as serve_hf

        serve_hf(hf_folder, port=port or 0)
    if port is not None:
        raise click.UsageError("--port is for --hf: the demo model chooses its own port")
    from ops.demo_weights import NoWeights, weights_path

    try:
        weights_path()
    except NoWeights as error:  # the import below would fail: an image has both or neither
        lifecycle.say(str(error))
        sys.exit(lifecycle.CANNOT_START)
    from ops.embedded_model import main

    sys.exit(main(settings_and_data("model", http_port=http_port, log_level=log_level)))


@threadwax.command()
@click.option(
    "--processes",
    default=1,
    type=click.IntRange(1, 64),
    help="How many processes share the users; the number can change between runs.",
)
@long_running
def dataflow(*, processes: int, http_port: int | None, log_level: str | None) -> None:
    """Run the dataflow, which reads questions, asks the model and writes replies.

    Every process that uses the same NATS server serves a share of the users, and takes over those
    of a process that dies. To use several machines, set DATABASE_URL of a PostgreSQL server
    (docs/deploy.md).
    """
    settings = settings_and_data("dataflow", http_port=http_port, log_level=log_level)
    if processes > 1:
        from ops import dataflow_processes

        sys.exit(dataflow_processes.main(settings, processes))
    with tuning.imports(garbage_after=tuning.DATAFLOW_GARBAGE_AFTER):
        from dataflow.run import main
    sys.exit(main(settings))


@threadwax.command()
@click.option(
    "--rebuild",
    is_flag=True,
    help="Write everything again that the streams still have, and exit. Older rows are kept.",
)
@long_running
def recorder(*, rebuild: bool, http_port: int | None, log_level: str | None) -> None:
    """Run the recorder, which writes questions, answers and ratings to a database.

    By default that is a SQLite file in the data folder; DATABASE_URL names another one
    (docs/recorder.md). While the database is away, answers go on, and nothing is lost.
    """
    with tuning.imports(garbage_after=tuning.DATAFLOW_GARBAGE_AFTER):
        from dataflow.recorder.run import main

    settings = settings_and_data("recorder", http_port=http_port, log_level=log_level)
    sys.exit(main(settings, rebuild=rebuild))


@threadwax.command()
@long_running
def gateway(*, http_port: int | None, log_level: str | None) -> None:
    """Run the gateway, which answers plain NATS requests on the subject `prompts`."""
    with tuning.imports():
        from bots.gateway.run import main

    sys.exit(main(settings_and_data("gateway", http_port=http_port, log_level=log_level)))


@threadwax.command()
@long_running
def slack(*, http_port: int | None, log_level: str | None) -> None:
    """Run the Slack adapter; it needs SLACK_BOT_TOKEN and SLACK_APP_TOKEN (docs/slack.md)."""
    with tuning.imports():
        from bots.slack.run import main
        from bots.slack.settings import SlackSettings
        from ops.settings import read

    settings = settings_and_data("slack", http_port=http_port, log_level=log_level)
    sys.exit(main(settings, read(SlackSettings)))


@threadwax.command()
@long_running
def discord(*, http_port: int | None, log_level: str | None) -> None:
    """Run the Discord adapter; it needs DISCORD_TOKEN (docs/discord.md)."""
    with tuning.imports():
        from bots.discord.run import main
        from bots.discord.settings import DiscordSettings
        from ops.settings import read

    settings = settings_and_data("discord", http_port=http_port, log_level=log_level)
    sys.exit(main(settings, read(DiscordSettings)))


@threadwax.command()
@long_running
def web(*, http_port: int | None, log_level: str | None) -> None:
    """Run the web page: a chat in the browser; needs the extra `web` (docs/web.md)."""
    from ops.web import main

    sys.exit(main(settings_and_data("web", http_port=http_port, log_level=log_level)))


@threadwax.command()
@click.option("--user", help="Whose conversation to continue. Default: your user name.")
def chat(*, user: str | None) -> None:
    """Chat in this terminal; each line of piped input is a question.

    Exit code 0: every question was answered. 1: a question of piped input was not sent or
    failed, or this user already has an open chat. 2: wrong usage. 130, 143: ended by Ctrl-C or
    SIGTERM.
    """
    from bots.terminal.run import main, user_name

    sys.exit(main(settings_and_data("chat"), user or user_name()))


@threadwax.command()
@click.option(
    "--user", required=True, help="Whose conversation to continue; you can choose any name."
)
@click.option(
    "--timeout", "timeout_s", default=ASK_TIMEOUT_S, help="How many seconds to wait for the answer."
)
@click.argument("text")
def ask(*, user: str, timeout_s: float, text: str) -> None:
    """Ask one question and print the answer. The bot must be running, for example `threadwax up`.

    Exit code 0: the question was answered. 1: it was refused, failed, or was not answered in
    time; standard error says why. 2: wrong usage. 130: Ctrl-C.
    """
    from ops.ask import main

    sys.exit(main(read_settings("ask"), user, text, timeout_s))


@threadwax.command()
@click.argument("platform", required=False)
def doctor(*, platform: str | None) -> None:
    """Check the settings and every server, and say how to fix what fails.

    With a platform (slack, discord or web), check its app: tokens, permissions, subscriptions.
    """
    from ops.doctor import main

    sys.exit(main(read_settings("doctor"), platform))


for command in cli_reports.COMMANDS:
    threadwax.add_command(command)
threadwax.add_command(dlq)
threadwax.add_command(backup)
threadwax.add_command(restore)
threadwax.add_command(export)
threadwax.add_command(forget)
threadwax.add_command(finetune)
threadwax.add_command(rehearse)


def run_command(name: str) -> NoReturn:
    """Runs a command without arguments in a process that `up` forked, and ends the process."""
    from ops.settings import forget_file

    forget_file()  # `up` has read it, but a part reads it at each of its starts
    threadwax([name], prog_name="threadwax")
    raise AssertionError("click ends the process")


def main() -> None:
    """Runs the command line."""
    lifecycle.open_standard_streams()
    lifecycle.exit_on_stop_signal()
    lifecycle.die_with_parent()
    private_file.make_private_by_default()
    threadwax(prog_name="threadwax")


if __name__ == "__main__":
    main()
