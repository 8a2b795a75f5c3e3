"""Messages that wait until what was missed before them in their channel has been taken.

It must never hold a message back for long: if Discord does not give a channel's history, its people
are answered in spite of that.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from bots.discord.events import Received
from shared.log import logger
from shared.tasks import end

HELD_S: Final = 60.0
"""Discord's outages are mostly shorter, and so is the reading of 300 messages."""


class HeldMessages:
    """`take` takes a message; it enters its author's queue before it waits for anything."""

    def __init__(self, take: Callable[[Received], Coroutine[Any, Any, None]]) -> None:
        self._take = take
        self._held: dict[int, list[Received]] = {}
        self._taking: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Task[None] | None = None

    def hold(self, channels: Iterable[int]) -> None:
        """From now on messages of these channels are held back, for a while."""
        for channel in channels:
            self._held.setdefault(channel, [])
        if self._timer is None and self._held:
            self._timer = asyncio.create_task(self._in_the_end())

    def holds(self, received: Received) -> bool:
        """Whether this message is held back, and so taken later."""
        held = self._held.get(received.message.channel.id)
        if held is None:
            return False
        held.append(received)
        return True

    async def release(self, channel: int) -> None:
        """Takes what is held back there, in order, before all that comes from now on."""
        while held := self._held.get(channel):
            for received in tuple(held):
                task = asyncio.create_task(self._take(received))
                self._taking.add(task)
                task.add_done_callback(self._taking.discard)
            held.clear()
            await asyncio.sleep(0)  # each has entered its author's queue then
        self._held.pop(channel, None)

    async def close(self) -> None:
        """Stops waiting; what is held back is read from the history at the next start."""
        self._held.clear()
        if self._timer is not None:
            timer, self._timer = self._timer, None
            await end(timer)

    async def _in_the_end(self) -> None:
        await asyncio.sleep(HELD_S)
        self._timer = None
        for channel, held in tuple(self._held.items()):
            if held:
                logger().warning("answered before what was missed", channel=channel)
            await self.release(channel)
