"""`threadwax recorder`: one process of the recorder's flow, from its settings to its end.

It must never run twice on one data folder, which would only double the work, nor keep anything
about its progress outside the database.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa
from bytewax.run import cli_main

from dataflow.io_thread import IoThread
from dataflow.recorder.database import Abandoned, Database
from dataflow.recorder.database_sink import DatabaseSink
from dataflow.recorder.figures_service import FiguresService
from dataflow.recorder.flow import recorder_flow
from dataflow.recorder.history_service import HistoryService
from dataflow.recorder.retention import expire_older, keep_only
from dataflow.recorder.server_figures import Lag
from dataflow.recorder.server_metrics import ServerMetrics
from dataflow.recorder.streams_source import StreamsSource
from dataflow.recorder.writer import forget_positions, positions_of, prune_receipts
from dataflow.shutdown import block_signals, end_on_signal
from shared import lifecycle, metrics, names, tracing
from shared.bus import Bus
from shared.connection import Refused
from shared.database.engine import BadDatabaseUrl, database_url, engine_of, writing
from shared.database.erasing import reclaim
from shared.database.migrate import NewerDatabase, migrate
from shared.database.tables import people
from shared.follow import Position
from shared.http_status import CannotListen, serve_status
from shared.lock import AlreadyRunning, locked
from shared.settings import Settings
from shared.streams import KEPT_S

STOP_S: Final = 5.0
"""Time to write what has arrived. Whatever is not written is read again after the start."""

EARLY_RECEIPTS_KEPT: Final = timedelta(days=1)
"""Receipts whose answers do not come, because they are older than the stream of replies."""

GATHER_S: Final = 0.05
"""Nobody waits for the recorder, so it may read messages late and many at a time."""

ERASED_AGAIN: Final = timedelta(seconds=KEPT_S)
"""For this long after an erasure, each start removes the bytes of erased rows from the files again:
as long as the stream has the request."""

PROGRESS_EVERY_S: Final = 2.0

NEEDS: Final = names.stream_info(names.PROMPTS)
"""The first request to JetStream, which shows whether it is allowed."""

CANNOT_START: Final = (AlreadyRunning, BadDatabaseUrl, Refused, CannotListen, OSError)


@dataclass(frozen=True, slots=True)
class _Process:
    """The parts of a process that has started."""

    lock: int
    io: IoThread
    bus: Bus
    engine: sa.Engine
    database: Database

    def close(self) -> None:
        self.io.call(self.bus.close())
        self.engine.dispose()
        os.close(self.lock)


def main(settings: Settings, *, rebuild: bool = False) -> int:
    """Runs until it is told to stop; returns the exit code.

    `rebuild`: reads the streams again from their beginning, and ends when it has written all of it.
    """
    block_signals()
    try:
        if not rebuild:  # it reads what was recorded before
            tracing.start("recorder")
        process = _start(settings)
    except (*CANNOT_START, tracing.CannotTrace) as error:
        lifecycle.say(str(error))
        return lifecycle.CANNOT_START
    started = time.monotonic()
    try:
        after = process.database.once(lambda engine: _prepared(engine, rebuild=rebuild))
    except Abandoned:
        return 0
    except NewerDatabase as error:
        lifecycle.say(str(error))
        return lifecycle.CANNOT_START
    if settings.keep_days is not None and not rebuild:
        process.io.spawn(keep_only(process.engine, settings.keep_days))
    source = StreamsSource(process.io, process.bus, after, until_caught_up=rebuild)
    sink = DatabaseSink(process.database)
    metrics.recorder_lag_s.set_function(lambda: _lag_s(source, sink))
    if not rebuild:
        process.io.call(_answer_requests(process, settings, lambda: _lag(source, sink)))
    if rebuild and sys.stderr.isatty():
        process.io.spawn(_progress(source, sink))
    cli_main(recorder_flow(source, sink, settings.prices))  # type: ignore[no-untyped-call]
    if rebuild and settings.keep_days is not None:
        # The streams may have more than is to be kept.
        keep_days = settings.keep_days
        process.database.once(lambda engine: expire_older(engine, keep_days))
    if rebuild and not process.io.stopping:
        lifecycle.say(
            f"rebuilt {process.database.where} from {sink.written:,} messages in "
            f"{time.monotonic() - started:.0f} s. Rows that are older than the streams were kept."
        )
    process.close()
    tracing.stop()
    return 0


def _start(settings: Settings) -> _Process:
    """Starts everything except the worker. Does not wait for the database.

    Raises:
        AlreadyRunning, BadDatabaseUrl, Refused, CannotListen, OSError: it cannot start.
    """
    lock = locked(settings.home / "recorder" / "lock", "the recorder")
    engine = engine_of(database_url(settings))
    io = IoThread(gather_s=GATHER_S)
    database = Database(engine, stopping=lambda: io.stopping)
    end_on_signal(io, lambda: None, drain_s=STOP_S)
    bus = io.call(
        Bus.connect(settings.bus_url, name="recorder", wait_s=None, needs=NEEDS), timeout_s=None
    )
    if settings.http_port is not None:

        def ready() -> tuple[bool, str]:
            if bus.trouble:
                return False, bus.trouble
            return not database.away, "the database does not answer" if database.away else "ok"

        io.call(
            serve_status(settings.http_host, settings.http_port, folder=settings.home, ready=ready)
        )
        io.spawn(ServerMetrics(bus).watch())
    # Also while the database is away: nobody has to wait for the recorder.
    lifecycle.ready(f"{database.where}; NATS at {bus.server}")
    return _Process(lock, io, bus, engine, database)


def _prepared(engine: sa.Engine, *, rebuild: bool) -> dict[str, Position]:
    """Makes the tables, if necessary; returns where to continue in each stream."""
    migrate(engine)
    if _was_forgotten(engine, datetime.now(UTC) - ERASED_AGAIN):
        # A crash may have come between the transaction and this.
        reclaim(engine)
    with writing(engine) as connection:
        prune_receipts(connection, datetime.now(UTC) - EARLY_RECEIPTS_KEPT)
        if rebuild:
            forget_positions(connection)
        return positions_of(connection)


def _was_forgotten(engine: sa.Engine, since: datetime) -> bool:
    """Whether rows of a person were erased since that time."""
    with engine.connect() as connection:
        found = sa.select(people.c.user_id).where(people.c.forgotten_at >= since).limit(1)
        return connection.execute(found).first() is not None


def _lag_s(source: StreamsSource, sink: DatabaseSink) -> float:
    times = [reader.oldest() for reader in source.readers]
    if (writing_now := sink.in_progress) is not None:
        times.append(writing_now.stored_at)
    oldest = min((at for at in times if at is not None), default=None)
    return 0.0 if oldest is None else (datetime.now(UTC) - oldest).total_seconds()


def _lag(source: StreamsSource, sink: DatabaseSink) -> Lag:
    left = {reader.stream: (reader.to_come or 0) + reader.waiting for reader in source.readers}
    return Lag(_lag_s(source, sink), left)


async def _answer_requests(process: _Process, settings: Settings, lag: Callable[[], Lag]) -> None:
    """Begins to answer adapters."""
    await HistoryService(process.bus, process.engine, settings.prices).start()
    await FiguresService(process.bus, process.engine, settings, lag).start()


async def _progress(source: StreamsSource, sink: DatabaseSink) -> None:
    """Shows how far a rebuild is, on a terminal."""
    while True:
        await asyncio.sleep(PROGRESS_EVERY_S)
        to_come = sum((reader.to_come or 0) + reader.waiting for reader in source.readers)
        sys.stderr.write(f"\r{sink.written:,} messages written, {to_come:,} to come   ")
        sys.stderr.flush()
