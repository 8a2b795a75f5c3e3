"""Answers adapters that ask for a person's own data, for the command /export.

Reads only, one request at a time. Who may ask for whom is decided by the permissions of the NATS
server: an adapter can ask for people of its own platform.
"""

import asyncio
from typing import Final

import sqlalchemy as sa
from nats.aio.msg import Msg

from shared import names
from shared.bus import Bus
from shared.database.history import entries, markdown
from shared.log import logger
from shared.own_history import BUSY, HISTORY_LIMIT, LIMIT_BYTES, PIECE, QUEUE, pieces_of

WAITING_LIMIT: Final = 20
"""More requests are refused; each takes some ten milliseconds."""


class HistoryService:
    """Call from the asyncio thread."""

    def __init__(self, bus: Bus, engine: sa.Engine) -> None:
        self._bus = bus
        self._engine = engine
        self._one_at_a_time = asyncio.Lock()
        self._waiting = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begins to answer; goes on after a lost connection."""
        await self._bus.client.subscribe(names.HISTORY_SUBJECTS, queue=QUEUE, cb=self._take)

    async def _take(self, message: Msg) -> None:
        # Not awaited, so that requests beyond the limit are refused at once.
        task = asyncio.create_task(self._answer(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: Msg) -> None:
        try:
            user = names.user_of_history(message.subject)
        except names.BadName:
            return  # not one of our adapters
        if self._waiting >= WAITING_LIMIT:
            await self._send(message.reply, BUSY, b"")
            return
        self._waiting += 1
        try:
            async with self._one_at_a_time:
                data = await asyncio.to_thread(history_of, self._engine, user)
                for header, piece in pieces_of(data):
                    await self._send(message.reply, header, piece)
                await self._bus.client.flush()
        except sa.exc.SQLAlchemyError as error:
            # Only the kind: the error's text may have what people said.
            logger().warning("a history cannot be read", user=user, why=type(error).__name__)
            await self._send(message.reply, BUSY, b"")
        else:
            logger().info("sent a person their history", user=user, size=len(data))
        finally:
            self._waiting -= 1

    async def _send(self, to: str, header: str, data: bytes) -> None:
        if to:
            await self._bus.client.publish(to, data, headers={PIECE: header})


def history_of(engine: sa.Engine, user: str) -> bytes:
    """A person's history as Markdown; empty if nothing is recorded. Blocks."""
    with engine.connect() as connection:
        found = entries(connection, user, newest=HISTORY_LIMIT)
    return markdown(user, found, limit_bytes=LIMIT_BYTES).encode() if found else b""
