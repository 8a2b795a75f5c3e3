"""Answers requests of other processes, one at a time, in pieces.

It must never hold a request back because of its answer's sender: what fails is answered as busy.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import sqlalchemy as sa
from nats.aio.msg import Msg

from shared.bus import Bus
from shared.log import logger
from shared.pieces import BUSY, PIECE, QUEUE, pieces_of

WAITING_LIMIT: Final = 20
"""More requests are refused; each takes some ten milliseconds."""

Read = Callable[[Msg], Awaitable[bytes | None]]
"""Returns the answer to a request; None if it is not one of ours and gets no answer."""


class Requests:
    """Requests on one subject. Call from the asyncio thread."""

    def __init__(self, bus: Bus, subject: str, read: Read) -> None:
        self._bus = bus
        self._subject = subject
        self._read = read
        self._one_at_a_time = asyncio.Lock()
        self._waiting = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begins to answer; goes on after a lost connection."""
        await self._bus.client.subscribe(self._subject, queue=QUEUE, cb=self._take)

    async def _take(self, message: Msg) -> None:
        # Not awaited, so that requests beyond the limit are refused at once.
        task = asyncio.create_task(self._answer(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: Msg) -> None:
        if self._waiting >= WAITING_LIMIT:
            await self._send(message.reply, BUSY, b"")
            return
        self._waiting += 1
        try:
            async with self._one_at_a_time:
                data = await self._read(message)
                if data is None:
                    return
                for header, piece in pieces_of(data):
                    await self._send(message.reply, header, piece)
                await self._bus.client.flush()
        except sa.exc.SQLAlchemyError as error:
            # Only the kind: the error's text may have what people said.
            logger().warning(
                "a request cannot be answered", subject=message.subject, why=type(error).__name__
            )
            await self._send(message.reply, BUSY, b"")
        else:
            logger().info("answered a request", subject=message.subject, size=len(data))
        finally:
            self._waiting -= 1

    async def _send(self, to: str, header: str, data: bytes) -> None:
        if to:
            await self._bus.client.publish(to, data, headers={PIECE: header})
