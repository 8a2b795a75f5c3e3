"""A database as the recorder fills it: messages to record, and its contents for comparisons."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from pydantic import SecretStr

from dataflow.recorder.batch import Batch
from dataflow.recorder.changes import Stored, changes_of
from dataflow.recorder.writer import write
from shared import names
from shared.database.engine import database_url, engine_of, writing
from shared.database.migrate import migrate
from shared.database.tables import metadata
from shared.messages import Event, Place
from shared.replies import Reply
from shared.settings import Settings

START = datetime(2026, 11, 26, 12, 0, 0, 250000, tzinfo=UTC)
PLACE = Place(
    platform="slack", space="T1", channel="C2", thread="17", audience="private", alone=True
)


class Streams:
    """What the streams hold: each message is stored a second after the one before."""

    def __init__(self, start: datetime = START) -> None:
        self.messages: list[Stored] = []
        self._start = start

    @classmethod
    def ending_now(cls) -> "Streams":
        """Streams whose messages are of the last minute."""
        return cls(datetime.now(UTC) - timedelta(minutes=1))

    @property
    def now(self) -> datetime:
        return self._start + timedelta(seconds=len(self.messages))

    def event(self, kind: type[Event], id_: str, user: str = "slack:ada", **fields: Any) -> None:
        event = kind(**{"id": id_, "user": user, "place": PLACE, "said_at": self.now, **fields})
        subject = f"p.3.{user.replace(':', '.')}"
        self._store(names.PROMPTS, subject, event.wire())

    def reply(self, prompt_id: str, user: str = "slack:ada", **fields: Any) -> None:
        said_at = self.now - timedelta(milliseconds=500)
        reply = Reply(
            **{
                "prompt_id": prompt_id, "user": user, "place": PLACE, "outcome": "answered",
                "text": f"answer to {prompt_id}", "prompt_text": f"text of {prompt_id}",
                "said_at": said_at, "answered_at": self.now, **fields,
            }
        )  # fmt: skip
        self._store(names.REPLIES, names.reply_subject(user, prompt_id), reply.wire())

    def receipt(self, prompt_id: str, value: bytes, platform: str = "slack") -> None:
        subject = f"{names.RECEIPTS_PREFIX}{platform}.{prompt_id}.0"
        self._store(names.RECEIPTS_STREAM, subject, value)

    def _store(self, stream: str, subject: str, data: bytes) -> None:
        self.messages.append(Stored(stream, subject, data, len(self.messages) + 1, self.now, START))


def opened(url: str) -> sa.Engine:
    engine = engine_of(database_url(Settings(DATABASE_URL=SecretStr(url))))
    migrate(engine)
    return engine


def record(engine: sa.Engine, *messages: Stored) -> None:
    """Writes messages as one batch."""
    batch = Batch()
    for message in messages:
        batch.add(message, changes_of(message, {}))
    with writing(engine) as connection:
        write(connection, batch)


NOT_COMPARED = frozenset({"positions", "early_receipts"})
"""What depends on the order in which the streams were read, and nobody reads."""


def dump(engine: sa.Engine) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables, in the order of their keys."""
    with engine.connect() as connection:
        return {
            table.name: [
                dict(row)
                for row in connection.execute(
                    table.select().order_by(*table.primary_key.columns)
                ).mappings()
            ]
            for table in metadata.sorted_tables
            if table.name not in NOT_COMPARED
        }


Rows = dict[str, list[dict[str, Any]]]


async def until_recorded(
    engine: sa.Engine, done: Callable[[Rows], bool], *, within_s: float = 60.0
) -> Rows:
    """All rows, as soon as they are as wanted."""
    rows: Rows = {}
    try:
        async with asyncio.timeout(within_s):
            while True:
                if await asyncio.to_thread(_has_tables, engine):
                    rows = await asyncio.to_thread(dump, engine)
                    if done(rows):
                        return rows
                await asyncio.sleep(0.1)
    except TimeoutError:
        counts = {table: len(found) for table, found in rows.items()}
        raise AssertionError(f"recorded within {within_s} s: {counts}") from None


def _has_tables(engine: sa.Engine) -> bool:
    try:
        return sa.inspect(engine).has_table("positions")
    except sa.exc.OperationalError:  # the server has just come back
        return False
