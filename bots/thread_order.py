"""Order by construction: a reply is shown once the reply before it in its thread is finished.

Each reply names its predecessor, whose reply is older in the journal. In the ordinary case this
process finished it itself and knows so; otherwise its receipt is asked. It must never decide by a
clock: a reply that waits is looked after again and again, and goes on when facts allow it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from nats.aio.msg import Msg

from shared.log import logger
from shared.messages import Place, Reply
from shared.receipts import Receipts
from shared.recent import RecentSet

FINISHED_KEPT: Final = 4096
"""Finished replies that this process remembers; of older ones the receipts are asked."""

LOOK_AGAIN_S: Final = 0.5
"""While a predecessor is missing: its acknowledgement wait runs, or another process has it."""

LOOKS_AT_ONCE: Final = 256
"""Receipts that partials have asked for; what comes meanwhile gets no preview."""

Thread = tuple[str, str, str]


def thread_of(user: str, place: Place) -> Thread:
    """What the order holds for: one user's replies in one thread.

    Not by `space`: that changes with the readers, and the thread on the screen stays the same.
    """
    return user, place.channel, place.thread


@dataclass(slots=True)
class Held:
    """A reply in the hands of this process, and the message that brought it."""

    reply: Reply
    message: Msg

    @property
    def sequence(self) -> int:
        """Its place in the journal."""
        return self.message.metadata.sequence.stream


@dataclass(slots=True)
class Queue:
    """The replies of one thread that this process holds, the oldest in the journal first."""

    held: list[Held] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, new: Held) -> None:
        """Puts a reply in its place; one that was delivered again may be older than the first."""
        at = len(self.held)
        while at and self.held[at - 1].sequence > new.sequence:
            at -= 1
        self.held.insert(at, new)
        self.changed.set()


class ThreadOrder:
    """What one relay knows of finished replies.

    `unacknowledged` returns how many replies the server waits for, besides those in `in_hand`.
    """

    def __init__(
        self,
        receipts: Receipts,
        in_hand: Mapping[str, object],
        unacknowledged: Callable[[], Awaitable[int]],
    ) -> None:
        self._receipts = receipts
        self._in_hand = in_hand
        self._unacknowledged = unacknowledged
        self._finished: RecentSet[str] = RecentSet(FINISHED_KEPT)
        self._looks: dict[str, asyncio.Task[None]] = {}

    def finish(self, prompt_id: str) -> None:
        """A reply has its receipts, or is a dead letter."""
        self._finished.add(prompt_id)

    async def next_of(self, queue: Queue) -> Held:
        """The next reply of a queue that is not empty, once its turn has come."""
        waiting = ""
        while True:
            queue.changed.clear()
            first = queue.held[0]
            if (held := await self._first_that_may_go(queue)) is not None:
                queue.held.remove(held)
                return held
            if waiting != first.reply.prompt_id:
                waiting = first.reply.prompt_id
                logger().info("waits for the reply before it", prompt=waiting)
            try:
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await queue.changed.wait()
            except TimeoutError:
                continue

    async def _first_that_may_go(self, queue: Queue) -> Held | None:
        """The oldest in the journal; any other one only because its named predecessor is finished.

        The successor comes first if somebody replaced the journal's stream: sequences start again.
        """
        for held in tuple(queue.held):
            is_first = held is queue.held[0]
            after = held.reply.after
            if (is_first or after is not None) and await self._may_go(after):
                return held
        return None

    async def _may_go(self, after: str | None) -> bool:
        if after is None or after in self._finished:
            return True
        if after in self._in_hand:
            return False
        if not await self._receipts.is_finished(after) and await self._may_still_come(after):
            return False
        self._finished.add(after)
        return True

    async def _may_still_come(self, after: str) -> bool:
        """Whether the server may deliver it again.

        It was delivered before, since it is older in the journal than the reply that waits. If the
        server waits for no reply that is not in our hands, it was acknowledged, or has expired.
        """
        return await self._unacknowledged() > 0 or after in self._in_hand

    def allows_preview(self, after: str | None) -> bool:
        """Whether a growing answer may be shown: nothing older may appear below it later.

        A predecessor that this process has not finished is looked up for the next partial.
        """
        if after is None or after in self._finished:
            return True
        is_news = after not in self._in_hand and after not in self._looks
        if is_news and len(self._looks) < LOOKS_AT_ONCE:
            task = self._looks[after] = asyncio.create_task(self._look(after))
            task.add_done_callback(lambda _: self._looks.pop(after, None))
        return False

    async def _look(self, after: str) -> None:
        if await self._receipts.is_finished(after):
            self._finished.add(after)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Look-ups under way, for the end of the relay."""
        return list(self._looks.values())
