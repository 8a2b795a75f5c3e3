"""Shows the replies of a thread in order: each one only after its predecessor is finished.

Each reply names its predecessor, whose reply is older in the journal. Usually this process finished
the predecessor itself and remembers that; otherwise its receipt says so. This must never decide by
a clock: a waiting reply is checked again and again until the facts let it go.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from nats.aio.msg import Msg

from shared.log import logger
from shared.messages import Place
from shared.receipts import Receipts
from shared.recent import RecentSet
from shared.replies import Reply

FINISHED_KEPT: Final = 4096
"""Finished replies that this process remembers; older ones are looked up in the receipts."""

LOOK_AGAIN_S: Final = 0.5
"""How often a missing predecessor is looked for: the server or another process may have it."""

LOOKUPS_LIMIT: Final = 256
"""Receipts looked up at the same time for previews; further answers get no preview meanwhile."""

Thread = tuple[str, str, str]


def thread_of(user: str, place: Place) -> Thread:
    """The unit of order: one user's replies in one thread.

    Without `space`, which changes with the readers while the thread on the screen stays the same.
    """
    return user, place.channel, place.thread


@dataclass(slots=True)
class Delivery:
    """A reply that this process is working on, and the message that delivered it."""

    reply: Reply
    message: Msg

    @property
    def sequence(self) -> int:
        """The reply's position in the journal."""
        return self.message.metadata.sequence.stream


@dataclass(slots=True)
class ThreadQueue:
    """The deliveries of one thread that wait in this process, the oldest in the journal first."""

    deliveries: list[Delivery] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, new: Delivery) -> None:
        """Inserts a delivery by its position; a redelivered reply may be older than all others."""
        at = len(self.deliveries)
        while at and self.deliveries[at - 1].sequence > new.sequence:
            at -= 1
        self.deliveries.insert(at, new)
        self.changed.set()


class ThreadOrder:
    """Knows which replies are finished, and so which one may be shown next.

    `in_progress` holds the prompt ids that this process is working on. `unacknowledged` returns how
    many other replies the server waits for.
    """

    def __init__(
        self,
        receipts: Receipts,
        in_progress: Mapping[str, object],
        unacknowledged: Callable[[], Awaitable[int]],
    ) -> None:
        self._receipts = receipts
        self._in_progress = in_progress
        self._unacknowledged = unacknowledged
        self._finished: RecentSet[str] = RecentSet(FINISHED_KEPT)
        self._lookups: dict[str, asyncio.Task[None]] = {}

    def finish(self, prompt_id: str) -> None:
        """Remembers that a reply has all its receipts, or is a dead letter."""
        self._finished.add(prompt_id)

    async def next_in(self, queue: ThreadQueue) -> Delivery:
        """Removes and returns the next delivery of a non-empty queue, once it may be shown."""
        waiting = ""
        while True:
            queue.changed.clear()
            first = queue.deliveries[0]
            if (found := await self._first_that_may_go(queue)) is not None:
                queue.deliveries.remove(found)
                return found
            if waiting != first.reply.prompt_id:
                waiting = first.reply.prompt_id
                logger().info("waits for the reply before it", prompt=waiting)
            try:
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await queue.changed.wait()
            except TimeoutError:
                continue

    async def _first_that_may_go(self, queue: ThreadQueue) -> Delivery | None:
        """The oldest delivery, or a later one whose named predecessor is finished.

        A successor can be first in the queue if the journal's stream was replaced, because its
        sequences then start again.
        """
        for delivery in tuple(queue.deliveries):
            is_first = delivery is queue.deliveries[0]
            after = delivery.reply.after
            if (is_first or after is not None) and await self._may_go(after):
                return delivery
        return None

    async def _may_go(self, after: str | None) -> bool:
        if after is None or after in self._finished:
            return True
        if after in self._in_progress:
            return False
        if not await self._receipts.is_finished(after) and await self._may_still_come(after):
            return False
        self._finished.add(after)
        return True

    async def _may_still_come(self, after: str) -> bool:
        """Whether the server may deliver the predecessor again.

        The server delivered it before, since it is older in the journal than the waiting reply. If
        the server waits for no reply but those in progress here, the predecessor was acknowledged
        or has expired.
        """
        return await self._unacknowledged() > 0 or after in self._in_progress

    def allows_preview(self, after: str | None) -> bool:
        """Whether an answer may show while it grows: no older answer may appear below it later.

        If this process did not finish the predecessor, its receipt is looked up in the background,
        so that the next partial gets a better answer.
        """
        if after is None or after in self._finished:
            return True
        is_unknown = after not in self._in_progress and after not in self._lookups
        if is_unknown and len(self._lookups) < LOOKUPS_LIMIT:
            task = self._lookups[after] = asyncio.create_task(self._look_up(after))
            task.add_done_callback(lambda _: self._lookups.pop(after, None))
        return False

    async def _look_up(self, after: str) -> None:
        if await self._receipts.is_finished(after):
            self._finished.add(after)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Lookups in progress, to be cancelled when the relay ends."""
        return list(self._lookups.values())
