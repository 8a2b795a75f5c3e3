"""The database as the recorder sees it: it may be away for hours, and is tried until it is back.

It must never skip a batch because the database is away, nor log what somebody said.
"""

import time
from collections.abc import Callable
from typing import Final, TypeVar

import sqlalchemy as sa

from dataflow.recorder.batch import Batch
from shared import lifecycle, metrics
from shared.database.engine import without_password, writing
from shared.database.erasing import reclaim
from shared.log import logger

T = TypeVar("T")

RETRY_FIRST_S: Final = 0.2
RETRY_LAST_S: Final = 5.0
REASON_CHARS: Final = 200

WAITS: Final = "answers are not affected, and everything is recorded once it is back"


class Unstorable(Exception):
    """The database accepts rows, but not these: write the others."""


class Abandoned(Exception):
    """The process stops while the database is away: write nothing more."""


class Database:
    """Runs transactions, and reports each outage once."""

    def __init__(self, engine: sa.Engine, *, stopping: Callable[[], bool]) -> None:
        self._engine = engine
        self._stopping = stopping
        self._away_since: float | None = None

    @property
    def where(self) -> str:
        """The database, without a password."""
        return without_password(self._engine.url)

    @property
    def away(self) -> bool:
        """Whether the last transaction failed."""
        return self._away_since is not None

    def once(self, work: Callable[[sa.Engine], T]) -> T:
        """Runs `work`, until the database does it. Blocks.

        Raises:
            Unstorable: the rows are at fault.
            Abandoned: the process is to stop.
        """
        wait_s = RETRY_FIRST_S
        while True:
            try:
                done = work(self._engine)
            except (sa.exc.DataError, sa.exc.IntegrityError) as error:
                raise Unstorable(type(error.orig).__name__) from None
            except sa.exc.DBAPIError as error:
                self._lost(error)
            except (sa.exc.StatementError, ValueError, OverflowError) as error:
                raise Unstorable(type(error).__name__) from None
            else:
                self._back()
                return done
            deadline = time.monotonic() + wait_s
            while time.monotonic() < deadline:
                if self._stopping():
                    raise Abandoned
                time.sleep(RETRY_FIRST_S / 2)
            wait_s = min(wait_s * 2, RETRY_LAST_S)

    def write(self, write: Callable[[sa.Connection, Batch], None], batch: Batch) -> None:
        """Writes a batch in one transaction; see `once`."""

        def work(engine: sa.Engine) -> None:
            with writing(engine) as connection:
                write(connection, batch)

        self.once(work)
        if batch.forgotten:
            # After a crash in between, the next start does it.
            self.once(reclaim)

    def _lost(self, error: sa.exc.DBAPIError) -> None:
        metrics.database_up.set(0)
        if self._away_since is not None:
            return
        self._away_since = time.monotonic()
        metrics.database_outages.inc()
        # Only the driver's own first line: the error also has the statement, with what people said.
        why = " ".join(str(error.orig).split("\n", 1)[0].split())[:REASON_CHARS]
        logger().error("the database cannot be used", database=self.where, why=why, effect=WAITS)
        lifecycle.say_if_supervised(f"the database {self.where} cannot be used: {why}; {WAITS}")

    def _back(self) -> None:
        metrics.database_up.set(1)
        if self._away_since is None:
            return
        took_s = round(time.monotonic() - self._away_since)
        self._away_since = None
        logger().warning("the database is back", database=self.where, after_s=took_s)
        lifecycle.say_if_supervised(f"the database is back after {took_s} s; recording goes on")
