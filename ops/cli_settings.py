"""What the commands of `threadwax` have in common: their settings, and the lines at their start."""

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

import click

from shared import lifecycle

if TYPE_CHECKING:
    from shared.settings import Settings

NAME_WIDTH: Final = 10
"""The width of names in the lines that `up` prints."""

Command = TypeVar("Command", bound=Callable[..., None])


def long_running(command: Command) -> Command:
    """Adds the options of commands that run until they are stopped."""
    with_port = click.option(
        "--http-port",
        type=click.IntRange(0, 65535),
        help="Serve /healthz, /readyz and /metrics on this port; 0 chooses a free one.",
    )
    with_level = click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        help="The least severe level that is logged.",
    )
    return with_port(with_level(command))


def read_settings(
    process: str, *, http_port: int | None = None, log_level: str | None = None
) -> "Settings":
    """Reads the settings, applies the options of the command line, and sets up logging."""
    from ops.settings import read
    from shared import log
    from shared.settings import Settings

    settings = read(Settings)
    changes: dict[str, object] = {}
    if http_port is not None:
        changes["http_port"] = http_port
    if log_level is not None:
        changes["log_level"] = log_level
    settings = settings.model_copy(update=changes)
    log.set_up(settings.log_level, process=process)
    return settings


def settings_and_data(
    process: str, *, http_port: int | None = None, log_level: str | None = None
) -> "Settings":
    """Does the same as `read_settings`, and creates the data folder, readable by its owner only."""
    from ops.settings import read
    from shared import tracing
    from shared.traces.settings import TraceSettings

    settings = read_settings(process, http_port=http_port, log_level=log_level)
    tracing.configure(read(TraceSettings))
    _print_summary(process, settings)
    from ops.folder_check import make_usable

    if fault := make_usable(settings.home):
        lifecycle.say(f"the data folder cannot be used: {fault}")
        sys.exit(lifecycle.CANNOT_START)
    return settings


def _print_summary(process: str, settings: "Settings") -> None:
    """Prints where the data is and what is used, unless `up` has already done so."""
    if lifecycle.supervised() or (process == "chat" and "THREADWAX_HOME" in os.environ):
        return
    from ops.startup_summary import NOTE, new_data, overview

    lines = list(new_data(settings) if process == "chat" else overview(settings, process))
    if process in {"up", "chat"} or sys.stderr.isatty():
        for name, text in lines:
            click.echo(f"{name:<{NAME_WIDTH}} {text}", err=True)
    else:
        from shared.log import logger

        notes = [text for name, text in lines if name == NOTE]
        logger().info("starting", **{name: text for name, text in lines if name != NOTE})
        for note in notes:
            logger().warning("check the settings", note=note)
