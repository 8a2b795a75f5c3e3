"""Carries out `threadwax dlq`: each function returns an exit code.

Nothing is replayed or dropped that was not named, or confirmed.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

import click
import nats.errors

from ops.dlq import report
from ops.dlq.letters import Filter, Letter, connected, content, drop, letters
from shared.bus import Bus
from shared.connection import Unavailable
from shared.dead_letters import Outcome, Replay, replay
from shared.settings import Settings

FAILED: Final = 1

NOTHING: Final = "No dead letter matches: nothing was done."
NO_SUCH: Final = "There is no dead letter {number}: it was replayed or dropped, or has expired."
LOST: Final = "The connection to NATS was lost: {why}. Run the command again: it does what is left."
STOPPED: Final = "Stopped: {left:,} were not tried. Run the command again once this is fixed."
CONFIRM: Final = "{count} will be erased, and can never be answered. Continue?"

Work = Callable[[Bus], Coroutine[Any, Any, int]]


def list_letters(settings: Settings, wanted: Filter, *, as_json: bool) -> int:
    """Prints a table, or JSON."""

    async def work(bus: Bus) -> int:
        found = await letters(bus, wanted)
        if as_json:
            click.echo(report.as_json(found))
            return 0
        for line in report.table(found):
            click.echo(line)
        click.echo(report.summary(found), err=True)
        return 0

    return _run(settings, work)


def show(settings: Settings, number: int, *, as_json: bool) -> int:
    """Prints one dead letter with its content."""

    async def work(bus: Bus) -> int:
        found = await content(bus, number)
        if found is None:
            return _failed(NO_SUCH.format(number=number))
        if as_json:
            click.echo(report.content_as_json(found))
        else:
            for line in report.lines_of(found):
                click.echo(line)
        return 0

    return _run(settings, work)


def replay_letters(settings: Settings, numbers: tuple[int, ...], wanted: Filter | None) -> int:
    """Replays these, or all of a filter, oldest first; prints what became of each."""

    async def work(bus: Bus) -> int:
        chosen = await _chosen(bus, numbers, wanted)
        if not chosen:
            click.echo(NOTHING, err=True)
            return 0
        counts = dict.fromkeys(Outcome, 0)
        for index, number in enumerate(chosen):
            done = await replay(bus, number)
            counts[done.outcome] += 1
            click.echo(_replay_line(number, done, index + 1, len(chosen)))
            if done.outcome is Outcome.LATER:
                if left := len(chosen) - index - 1:
                    click.echo(STOPPED.format(left=left), err=True)
                break
        failed = len(chosen) - counts[Outcome.REPLAYED]
        if wanted is not None:  # with --all, one that is gone was replayed by somebody else
            failed -= counts[Outcome.GONE]
        return FAILED if failed else 0

    return _run(settings, work)


def drop_letters(
    settings: Settings, numbers: tuple[int, ...], wanted: Filter | None, *, sure: bool
) -> int:
    """Erases these, or all of a filter, after a confirmation unless `sure`."""

    async def work(bus: Bus) -> int:
        chosen = await _chosen(bus, numbers, wanted)
        if not chosen:
            click.echo(NOTHING, err=True)
            return 0
        if not sure and not click.confirm(CONFIRM.format(count=_count(len(chosen))), err=True):
            return FAILED
        gone = 0
        with _progress(len(chosen)) as step:
            async for number, there in drop(bus, chosen):
                step()
                if not there:
                    gone += 1
                    click.echo(NO_SUCH.format(number=number), err=True)
        click.echo(f"{_count(len(chosen) - gone)} erased.")
        return FAILED if gone and wanted is None else 0

    return _run(settings, work)


async def _chosen(bus: Bus, numbers: tuple[int, ...], wanted: Filter | None) -> list[int]:
    if wanted is None:
        return sorted(set(numbers))
    found: list[Letter] = await letters(bus, wanted)
    return [letter.number for letter in found]


def _replay_line(number: int, done: Replay, index: int, count: int) -> str:
    place = f"[{index}/{count}] " if count > 1 else ""
    return f"{place}{number}: {done.text}"


def _count(count: int) -> str:
    return "1 dead letter" if count == 1 else f"{count:,} dead letters"


@contextmanager
def _progress(length: int) -> Iterator[Callable[[], None]]:
    """Shows a bar on a terminal, because the server overwrites each message on the disk."""
    with click.progressbar(
        length=length, label="erasing", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        yield lambda: bar.update(1)


def _run(settings: Settings, work: Work) -> int:
    async def run() -> int:
        async with connected(settings.bus_url) as bus:
            return await work(bus)

    try:
        return asyncio.run(run())
    except Unavailable as error:
        return _failed(str(error))
    except nats.errors.Error as error:
        return _failed(LOST.format(why=error))


def _failed(message: str) -> int:
    click.echo(message, err=True)
    return FAILED
