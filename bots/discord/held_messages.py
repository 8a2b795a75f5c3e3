"""Holds new messages back until those that were missed before them in their channel are taken.

It must never hold a message back for long: if Discord does not return a channel's history, people
there are answered anyway.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from bots.discord.events import Received
from shared.log import logger
from shared.tasks import end

HELD_S: Final = 60.0
"""Most outages of Discord are shorter, and so is reading 300 messages."""


class HeldMessages:
    """`take` takes a message; it enters its author's queue before it awaits anything."""

    def __init__(self, take: Callable[[Received], Coroutine[Any, Any, None]]) -> None:
        self._take = take
        self._held: dict[int, list[Received]] = {}
        self._taking: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Task[None] | None = None

    def hold(self, channels: Iterable[int]) -> None:
        """Hold back new messages in these channels for up to `HELD_S`."""
        for channel in channels:
            self._held.setdefault(channel, [])
        if self._timer is None and self._held:
            self._timer = asyncio.create_task(self._release_all_later())

    def holds(self, received: Received) -> bool:
        """Whether this message is held back, to be taken later."""
        held = self._held.get(received.message.channel.id)
        if held is None:
            return False
        held.append(received)
        return True

    async def release(self, channel: int) -> None:
        """Take the held messages of a channel in order, before any newer ones."""
        while held := self._held.get(channel):
            for received in tuple(held):
                task = asyncio.create_task(self._take(received))
                self._taking.add(task)
                task.add_done_callback(self._taking.discard)
            held.clear()
            await asyncio.sleep(0)  # lets each enter its author's queue
        self._held.pop(channel, None)

    async def close(self) -> None:
        """Drop the held messages; the next start reads them from the history."""
        self._held.clear()
        if self._timer is not None:
            timer, self._timer = self._timer, None
            await end(timer)

    async def _release_all_later(self) -> None:
        await asyncio.sleep(HELD_S)
        self._timer = None
        for channel, held in tuple(self._held.items()):
            if held:
                logger().warning("new messages taken before the missed ones", channel=channel)
            await self.release(channel)
