"""`threadwax rehearse`: from its options to the report."""

import asyncio
import json
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import sqlalchemy as sa

from dataflow.model.check import check
from dataflow.model.endpoint import Endpoint, endpoint_of, window_of
from dataflow.tokens import Window
from dataflow.variants import window_with
from ops import recorded
from ops.rehearse import people
from ops.rehearse.asking import Purse, Respondent
from ops.rehearse.caps import MICRO, Caps
from ops.rehearse.choosing import choice_of
from ops.rehearse.errors import NothingToDo, Unusable, WrongUsage
from ops.rehearse.options import Options
from ops.rehearse.page import page_of
from ops.rehearse.report import Report, report_of
from ops.rehearse.results_file import (
    PAGE_FILE,
    REPORT_FILE,
    Choice,
    ResultsFile,
)
from ops.rehearse.session import Cast, Session
from ops.rehearse.targets import target
from shared.bus import Bus
from shared.connection import Unavailable
from shared.lock import AlreadyRunning, locked
from shared.nats_address import EMBEDDED
from shared.prices import price_of
from shared.private_file import private_file
from shared.settings import Settings

JUDGE_TOKENS: Final = 2_000
"""The longest verdict: reasoning models think first."""

DEFAULT_DOLLARS: Final = 1.0

NOT_COMPLETE: Final = 1
WRONG_USAGE: Final = 2
INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class Means:
    """What a run works with: NATS, people who are left out, candidate and judge, the money."""

    url: str
    left_out: frozenset[str]
    endpoints: list[Endpoint]
    limit: float | None


def main(settings: Settings, options: Options) -> int:
    """Runs the rehearsal; returns the exit code."""
    try:
        return _run(settings, options)
    except WrongUsage as error:
        return _failed(str(error), WRONG_USAGE)
    except AlreadyRunning as error:
        return _failed(f"process {error.pid or '?'} is writing to {options.folder}: wait for it")
    except (NothingToDo, Unavailable, OSError) as error:
        return _failed(str(error))
    except sa.exc.DBAPIError as error:
        return _failed(f"the database cannot be written: {str(error.orig).splitlines()[0]}")
    except KeyboardInterrupt:
        return _failed("stopped; the same command continues", INTERRUPTED)


def _run(settings: Settings, options: Options) -> int:
    left_out = recorded.read(lambda connection, _: people.left_out(connection))
    url = settings.bus_url()
    with ExitStack() as stack:
        lock = locked(options.folder / "lock", "a rehearsal")
        stack.callback(os.close, lock)
        people.drop(settings, options.folder, left_out)  # before anything that can fail
        if url.startswith(EMBEDDED):
            raise NothingToDo(
                f"no NATS server is running on the data folder {settings.home}: start "
                "`threadwax up`, or set NATS_URL"
            )
        endpoints = [
            stack.enter_context(target(settings, one.model, one.base_url, one.api_key_env))
            for one in (options.candidate, options.judge) if one is not None
        ]  # fmt: skip
        means = Means(url, left_out, endpoints, _limit(settings, options, endpoints))
        return asyncio.run(_rehearse(settings, options, means))


async def _rehearse(
    settings: Settings,
    options: Options,
    means: Means,
) -> int:
    # The name of the recorder: in production, its NATS user is the one that can read the streams.
    bus = await Bus.connect(means.url, name="recorder")
    file = ResultsFile(options.folder)
    try:
        choice = await choice_of(bus, options, means.endpoints, means.left_out)
        if not choice.chosen:
            raise NothingToDo(
                "there is nothing to rehearse: the streams have no answered question of anyone "
                "who did not opt out"
            )
        people.register(settings, options.folder, choice, file.sha256)
        caps = Caps(
            microdollars=None if means.limit is None else round(means.limit * MICRO),
            seconds=options.minutes * 60,
            spent=file.results.spent_microdollars,
            clock=time.monotonic,
        )
        window = await _window(settings)
        cast = _cast(settings, means.endpoints, window, Purse(caps))
        session = Session(
            bus, choice, file, cast, prices=settings.prices, parallel=options.parallel,
            window=window if options.prompt is None
            else replace(window, system_prompt=options.prompt),
        )  # fmt: skip
        _announce(choice, options, session, means.limit)
        ended = await _ended(session, cast, caps, means.limit)
        people.register(settings, options.folder, choice, file.sha256)
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        report = report_of(choice, file.results, made_at=made_at, ended=ended)
        _write(report, options.folder)
    finally:
        file.close()
        await bus.close()
    return 0 if not session.unfinished else NOT_COMPLETE


async def _ended(session: Session, cast: Cast, caps: Caps, limit: float | None) -> str:
    """Runs the session; returns a sentence that says why it ended."""
    try:
        await session.run()
    except ExceptionGroup as group:
        unusable, others = group.split(Unusable)
        if others is not None or unusable is None:
            raise
        return f"It ended early, because an endpoint cannot be asked: {unusable.exceptions[0]}."
    finally:
        await cast.candidate.close()
        if cast.judge is not None:
            await cast.judge.close()
    unfinished = sum(map(len, session.unfinished.values()))
    if not unfinished:
        return "It is complete."
    reached = "--max-minutes" if caps.reached == "time" else f"--max-dollars {limit:g}"
    return f"It ended early at {reached}; {unfinished} questions are left."


async def _window(settings: Settings) -> Window:
    """The window for which the dataflow builds its requests."""
    reported = None
    if not settings.demo_model and settings.context_tokens is None:
        found = await check(endpoint_of(settings, to_ask=False))
        reported = found.context_tokens
    return window_with(window_of(settings, reported_tokens=reported), settings.experiments)


def _cast(settings: Settings, endpoints: list[Endpoint], window: Window, purse: Purse) -> Cast:
    limits = (window.answer_tokens, JUDGE_TOKENS)
    candidate, *judges = (
        Respondent(
            endpoint, answer_tokens=answer_tokens, prices=settings.prices, purse=purse,
            give_up_after_s=settings.model_give_up_s, silence_s=settings.model_silence_s,
        )
        for endpoint, answer_tokens in zip(endpoints, limits, strict=False)
    )  # fmt: skip
    return Cast(candidate, judges[0] if judges else None)


def _limit(settings: Settings, options: Options, endpoints: list[Endpoint]) -> float | None:
    """The limit in dollars; None: there is none.

    Raises:
        WrongUsage: a limit is wanted, and the price of a model is unknown.
    """
    unknown = [one.model for one in endpoints if price_of(one.model, settings.prices) is None]
    if not unknown:
        return DEFAULT_DOLLARS if options.dollars is None else options.dollars or None
    if options.dollars:
        raise WrongUsage(
            f"the price of {' and '.join(unknown)} is unknown, so --max-dollars cannot be kept: "
            "set THREADWAX_PRICES (docs/recorder.md), or use --max-minutes"
        )
    return None


def _announce(choice: Choice, options: Options, session: Session, limit: float | None) -> None:
    unfinished = sum(map(len, session.unfinished.values()))
    if not unfinished:
        click.echo(
            f"{options.folder} is complete; for newer questions choose another folder with --out",
            err=True,
        )
        return
    judge = f", judged by {choice.judge} at {choice.judge_address}" if choice.judge else ""
    money = "without a limit of money" if limit is None else f"at most ${limit:g}"
    click.echo(
        f"asking {choice.model} at {choice.address} {unfinished} real questions{judge}; {money}, "
        f"at most {options.minutes:g} minutes; Ctrl-C stops, the same command continues",
        err=True,
    )


def _write(report: Report, folder: Path) -> None:
    private_file(folder / REPORT_FILE, json.dumps(report.as_json(), indent=1, ensure_ascii=False))
    private_file(folder / PAGE_FILE, page_of(report))
    click.echo(report.ended, err=True)
    click.echo(str(folder / PAGE_FILE))


def _failed(message: str, code: int = NOT_COMPLETE) -> int:
    click.echo(message, err=True)
    return code
