"""Replies that were sent to nobody, and holding back younger ones until those come again.

What a relay before this one, or a connection that broke, left unacknowledged comes after the
consumer's acknowledgement wait only, behind younger replies to the same people.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from bots.endings import end
from shared import names
from shared.bus import Bus
from shared.streams import ACK_WAIT_S

GRACE_S: Final = 0.5
"""For a reply that comes again to travel."""


class LeftOver:
    """What of a consumer is left over. It holds from the start; `count` or `hold` lets go."""

    def __init__(self, bus: Bus, consumer: str, in_hand: Mapping[str, object]) -> None:
        self._bus = bus
        self._consumer = consumer
        self._in_hand = in_hand
        self._count = 0
        self._all_there = asyncio.Event()
        self._counting: asyncio.Task[None] | None = None
        self._letting_go: asyncio.TimerHandle | None = None

    @property
    def holding(self) -> bool:
        """Whether older replies may still come."""
        return not self._all_there.is_set()

    async def all_there(self) -> None:
        """Waits until no older reply is to come."""
        await self._all_there.wait()

    def came_again(self) -> None:
        """One that was delivered before is here."""
        self._count -= 1
        if not self._count:
            self._all_there.set()

    def hold(self) -> None:
        """Holds until it is known anew what is left over, and that is there."""
        self._all_there.clear()
        self._count = 0
        for older in (self._counting, self._letting_go):
            if older is not None:
                older.cancel()
        self._counting = asyncio.create_task(self.count())

    async def count(self) -> None:
        """Counts what is left over, and has it let go in time."""

        async def once() -> int:
            before = set(self._in_hand)
            info = await self._bus.js.consumer_info(names.REPLIES, self._consumer)
            # Those were surely counted; what came or went meanwhile may have been.
            return (info.num_ack_pending or 0) - len(before & self._in_hand.keys())

        self._count = await self._bus.until_done(once)
        held_s = ACK_WAIT_S + GRACE_S if self._count > 0 else 0
        self._letting_go = asyncio.get_running_loop().call_later(held_s, self._all_there.set)

    async def stop(self) -> None:
        """Ends what runs here; what is held stays held."""
        if self._letting_go is not None:
            self._letting_go.cancel()
        if self._counting is not None:
            await end(self._counting)
