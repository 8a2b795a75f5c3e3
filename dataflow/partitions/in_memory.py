"""The conversations in memory, and what the flow hears of the partitions that are held.

Once a second it has written what has changed, with the position up to which the events are in it,
both of the same moment. It must never hand over an event before its user's conversation is in
memory, nor anything of a partition that another process serves.

Everything here is called from the worker's thread, except `tell`.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from dataflow.heard import Heard, Leave, Loaded, Recheck, Result
from dataflow.partitions.held import (
    Found,
    Gained,
    Given,
    HeldPartition,
    MayBeTooOld,
    News,
    OfPartition,
    Over,
    Written,
)
from dataflow.partitions.idle import IdleConversations
from dataflow.store.store import Row, Write
from shared import metrics

WRITE_S: Final = 1.0
"""A crash rewinds at most this much."""

BATCH: Final = 2000
"""At most about this many items are handed over in one step."""

Item = tuple[str, Heard]


class Conversing(Protocol):
    """A conversation in memory."""

    @property
    def has_work(self) -> bool:
        """Whether its next holder has to take it up at once."""

    def saved(self) -> bytes:
        """The conversation as it is stored."""


class Storage(Protocol):
    """Reads and writes without waiting, and tells what came of it."""

    def begin_reading(self, held: HeldPartition, users: list[str]) -> None:
        """Reads conversations; `Found` is told."""

    def begin_writing(self, writes: list[tuple[HeldPartition, Write]]) -> None:
        """Writes partitions; `Written` is told."""


class InMemory:
    """All partitions that this process holds, as the worker sees them."""

    def __init__(
        self, member: str, idle: IdleConversations, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._member = member
        self._idle = idle
        self._clock = clock
        self._news: deque[News] = deque()
        self._partitions: dict[int, HeldPartition] = {}
        self._where: dict[str, HeldPartition] = {}
        self._conversations: dict[str, Conversing] = {}
        self._in_flow = 0
        self._is_writing = False
        self._write_at = 0.0
        self.stepped_at: float | None = None
        """When the worker took its last step; None: it has not begun."""

        metrics.partitions_held.set_function(lambda: len(self._partitions))

    def tell(self, news: News) -> None:
        """Tells the worker, in the order of the calls. Call from any thread."""
        self._news.append(news)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held or written any more."""
        return not (self._partitions or self._news or self._is_writing or self._in_flow)

    def take(self, results: deque[tuple[str, Result]], storage: Storage) -> list[Item]:
        """What the flow has to handle next. Takes the `results` of conversations in memory."""
        self.stepped_at = self._clock()
        if self._in_flow:
            return []  # what is stored must be of one moment
        self._write_what_is_due(storage)
        items = [item for _ in range(len(self._news)) for item in self._learn(storage)]
        items += self._results(results)
        items += self._events(storage)
        items += self._evicted()
        self._in_flow = len(items)
        return items

    def handled(self, count: int) -> None:
        """Notes that the flow has handled this many of the items."""
        self._in_flow -= count

    def entered(self, user: str, conversation: Conversing) -> None:
        """Notes that the conversation of a `Loaded` is in memory."""
        if user in self._where:  # otherwise its partition was lost in the same step
            self._conversations[user] = conversation
            self._idle.touch(user)

    # --- writing ------------------------------------------------------------------------------

    def _write_what_is_due(self, storage: Storage) -> None:
        if self._is_writing:
            return
        now = self._clock()
        if now >= self._write_at:
            self._write_at = now + WRITE_S
            for held in self._partitions.values():
                held.is_due |= bool(held.changed) or held.position != held.stored
        # A position is true only if all events before it were handed over.
        ready = [held for held in self._partitions.values() if held.is_due and not held.loading]
        if ready:
            self._is_writing = True
            storage.begin_writing([(held, self._write_of(held)) for held in ready])

    def _write_of(self, held: HeldPartition) -> Write:
        held.is_due = False
        held.is_leaving = held.is_given
        held.unsaved = frozenset(held.changed)
        held.changed.clear()
        in_memory = [(user, self._conversations[user]) for user in held.unsaved]
        rows = tuple(Row(user, one.saved(), one.has_work) for user, one in in_memory)
        return Write(held.number, held.epoch, self._member, held.position, rows, held.is_given)

    # --- news ---------------------------------------------------------------------------------

    def _learn(self, storage: Storage) -> Iterator[Item]:
        news = self._news.popleft()
        if isinstance(news, Written):
            yield from self._written(news)
        elif isinstance(news, Gained):
            self._partitions[news.held.number] = news.held
            for row in news.with_work:
                yield self._load(news.held, row.user, row.saved, news.answered_elsewhere)
        elif self._partitions.get(news.held.number) is news.held:  # otherwise it ended before
            yield from self._learn_of(news, storage)

    def _learn_of(self, news: OfPartition, storage: Storage) -> Iterator[Item]:
        held = news.held
        match news:
            case Given():
                held.is_given = held.is_due = True
                held.events.clear()
            case Over():
                yield from self._leave(held)
            case Found():
                for user in news.users:
                    yield self._load(held, user, news.saved.get(user))
                    yield from ((user, arrived) for arrived in held.loading.pop(user))
            case MayBeTooOld():
                self._begin_reading(held, storage, [u for u in news.users if u not in held.users])
                for user in held.users.intersection(news.users):
                    held.changed.add(user)
                    yield user, Recheck()

    def _written(self, news: Written) -> Iterator[Item]:
        self._is_writing = False
        for held, write in news.writes:
            held.unsaved = frozenset()
            held.stored = write.position
            if held.is_over:
                yield from self._leave(held)

    def _load(
        self,
        held: HeldPartition,
        user: str,
        saved: bytes | None,
        answered_elsewhere: frozenset[str] = frozenset(),
    ) -> Item:
        held.users.add(user)
        held.changed.add(user)
        self._where[user] = held
        return user, Loaded(user, saved, answered_elsewhere)

    def _leave(self, held: HeldPartition) -> list[Item]:
        if self._partitions.get(held.number) is held:
            del self._partitions[held.number]
        return [self._drop(held, user) for user in tuple(held.users)]

    def _drop(self, held: HeldPartition, user: str) -> Item:
        held.users.discard(user)
        del self._where[user]
        self._conversations.pop(user, None)
        self._idle.remove(user)
        return user, Leave()

    # --- results, events, evictions -----------------------------------------------------------

    def _results(self, results: deque[tuple[str, Result]]) -> list[Item]:
        items: list[Item] = []
        for _ in range(min(len(results), BATCH)):
            user, result = results.popleft()
            held = self._where.get(user)
            # Otherwise whoever serves the user finds it in the journal.
            if held is not None and not held.is_leaving:
                held.changed.add(user)
                items.append((user, result))
        return items

    def _events(self, storage: Storage) -> list[Item]:
        items: list[Item] = []
        for held in self._partitions.values():
            missing: list[str] = []
            room = max(1, BATCH // len(self._partitions))
            # If it is to be written, what waits for a conversation comes first.
            while held.events and room and not (held.is_due and (held.loading or missing)):
                room -= 1
                taken = held.events.popleft()
                held.position = taken.position
                if taken.arrived is None:
                    continue
                if taken.user in held.users:
                    held.changed.add(taken.user)
                    self._idle.touch(taken.user)
                    items.append((taken.user, taken.arrived))
                else:
                    if taken.user not in held.loading:
                        missing.append(taken.user)
                    held.loading.setdefault(taken.user, []).append(taken.arrived)
            if missing:
                storage.begin_reading(held, missing)
        return items

    def _begin_reading(self, held: HeldPartition, storage: Storage, users: list[str]) -> None:
        missing = [user for user in users if user not in held.loading]
        for user in missing:
            held.loading[user] = []
        if missing:
            storage.begin_reading(held, missing)

    def _evicted(self) -> list[Item]:
        items: list[Item] = []
        for user in self._idle.due():
            held, conversation = self._where[user], self._conversations[user]
            is_stored = user not in held.changed and user not in held.unsaved
            if is_stored and not conversation.has_work:
                items.append(self._drop(held, user))
        return items
