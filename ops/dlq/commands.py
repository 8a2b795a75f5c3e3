"""The options of `threadwax dlq`."""

import sys
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import click

from ops.cli_settings import read_settings
from ops.help import FullHelpGroup
from ops.recorded import as_json as with_json
from ops.recorded import since as with_since

Command = TypeVar("Command", bound=Callable[..., None])

EPILOG = """\b
Which can be replayed:
  an event that could not be read  is read again, and answered once, in the
                                   thread where it was written
  an answer that was not shown     is shown by its adapter, unless people can
                                   see its beginning already
Which cannot:
  a stop, reset or setting         it was meant for the moment it was sent
  a request to the gateway         its sender no longer waits for an answer
  what was cut                     only its beginning is stored

\b
Typical use, after an upgrade or after the bot got back into a channel:
  threadwax dlq list --platform slack --since 2d
  threadwax dlq show 17
  threadwax dlq replay 17
  threadwax dlq replay --all --reason "this version does not know it"
  threadwax dlq drop 18

With your own NATS server, use the administrator's password:
NATS_URL=nats://admin:...@host:4222
"""


def _filters(command: Command) -> Command:
    """Adds the options that choose dead letters."""
    with_platform = click.option(
        "--platform", default="", show_default=False, help="Only those of this platform."
    )
    with_reason = click.option(
        "--reason",
        default="",
        show_default=False,
        metavar="TEXT",
        help="Only those whose reason contains this.",
    )
    return with_platform(with_since(with_reason(command)))


_numbers = click.argument("numbers", nargs=-1, type=click.IntRange(min=1))


@click.group(cls=FullHelpGroup, epilog=EPILOG)
def dlq() -> None:
    """List, read, replay and erase dead letters.

    A dead letter is a message that could not be read, or an answer that a platform did not take.
    It is kept for 30 days, and waits for a person's decision.
    """


@dlq.command(name="list")
@_filters
@with_json
def list_letters(*, platform: str, since: datetime | None, reason: str, as_json: bool) -> None:
    """List dead letters, oldest first; their contents are not read.

    Exit code 0: listed, even if there are none. 1: NATS cannot be used.
    """
    from ops.dlq import actions
    from ops.dlq.letters import Filter

    wanted = Filter(platform, since, reason)
    sys.exit(actions.list_letters(read_settings("dlq"), wanted, as_json=as_json))


@dlq.command()
@click.argument("number", type=click.IntRange(min=1))
@with_json
def show(*, number: int, as_json: bool) -> None:
    """Print one dead letter: its reason, its headers, and what a person or the model wrote.

    Control characters are not printed. With --json, they are escaped.

    Exit code 0: printed. 1: there is none with this NUMBER, or NATS cannot be used.
    """
    from ops.dlq import actions

    sys.exit(actions.show(read_settings("dlq"), number, as_json=as_json))


@dlq.command()
@_numbers
@click.option("--all", "everything", is_flag=True, help="All, or all that the filters choose.")
@_filters
def replay(
    *,
    numbers: tuple[int, ...],
    everything: bool,
    platform: str,
    since: datetime | None,
    reason: str,
) -> None:
    """Have dead letters read or shown once more, oldest first.

    The dataflow does it, so it must be running. A replayed dead letter is removed. Replaying it
    again does nothing, so this command can be repeated after an interruption.

    Exit code 0: all were replayed. 1: at least one was not; its line says why. 2: wrong usage.
    """
    from ops.dlq import actions
    from ops.dlq.letters import Filter

    wanted = Filter(platform, since, reason)
    _check(numbers, everything=everything, filtered=wanted != Filter())
    settings = read_settings("dlq")
    sys.exit(actions.replay_letters(settings, numbers, wanted if everything else None))


@dlq.command()
@_numbers
@click.option("--all", "everything", is_flag=True, help="All, or all that the filters choose.")
@_filters
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def drop(
    *,
    numbers: tuple[int, ...],
    everything: bool,
    platform: str,
    since: datetime | None,
    reason: str,
    yes: bool,
) -> None:
    """Erase dead letters: overwrites them on the disk of NATS.

    Exit code 0: all were erased. 1: some were gone, or you did not confirm. 2: wrong usage.
    """
    from ops.dlq import actions
    from ops.dlq.letters import Filter

    wanted = Filter(platform, since, reason)
    _check(numbers, everything=everything, filtered=wanted != Filter())
    settings = read_settings("dlq")
    sys.exit(actions.drop_letters(settings, numbers, wanted if everything else None, sure=yes))


def _check(numbers: tuple[int, ...], *, everything: bool, filtered: bool) -> None:
    if bool(numbers) == everything:
        raise click.UsageError(
            "give the numbers of `threadwax dlq list`, or --all with or without filters"
        )
    if numbers and filtered:
        raise click.UsageError("filters go with --all, not with numbers")
