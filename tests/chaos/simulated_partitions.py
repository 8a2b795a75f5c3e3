"""Processes that share partitions under a deterministic scheduler: what is around `InMemory`.

`InMemory`, `ConversationStep` and `IdleConversations` are the real ones. The store, the stream and
the asyncio side are simulated: each of their calls can take any time, fail, or come too late.
"""

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from dataflow.conversation_step import ConversationStep, Rules
from dataflow.effects import CallModel, Cancel, Effect, Settle
from dataflow.heard import Arrived, Heard, Result
from dataflow.partitions.held import Found, Gained, Given, HeldPartition, Over, Written
from dataflow.partitions.idle import IdleConversations
from dataflow.partitions.in_memory import InMemory
from dataflow.partitions.reader import Read
from dataflow.store.store import Claim, Row, Write
from shared.follow import Position
from shared.messages import AnyEvent
from shared.replies import Journaled
from tests.chaos.test_simulation import USERS, WINDOW, Call

PARTITION: Final = {user: number % 2 for number, user in enumerate(USERS)}
PARTITIONS: Final = sorted(set(PARTITION.values()))
EVICT_AFTER_S: Final = 2
NOTIFIED: Final = 0.3
"""The probability that a step gets its notification before anything else happens."""

SLOW: Final = 0.15
"""The probability that a call of the store takes long, and that such a call then ends."""

Task = Callable[[], None]


class Store:
    """What outlives all processes: claims, positions and conversations."""

    def __init__(self, *, fenced: bool = True) -> None:
        self._fenced = fenced
        self.claims = {number: Claim("", 0) for number in PARTITIONS}
        self.rows: dict[str, Row] = {}
        self.late: int = 0
        """Writes that came too late, and were refused."""

    def claim(self, member: str, number: int, epoch: int) -> Claim | None:
        """Returns what the last holder left, unless somebody else was quicker."""
        before = self.claims[number]
        if before.epoch != epoch:
            return None
        self.claims[number] = Claim(member, epoch + 1, before.position)
        return replace(before, holder=member, epoch=epoch + 1)

    def write(self, writes: Iterable[Write]) -> set[int]:
        """The partitions whose write is refused."""
        refused = set()
        for one in writes:
            claim = self.claims[one.partition]
            if self._fenced and claim.epoch != one.epoch:
                refused.add(one.partition)
                self.late += 1
                continue
            holder, by = ("", one.holder) if one.release else (one.holder, "")
            self.claims[one.partition] = Claim(
                holder, claim.epoch, one.position, by, one.answering
            )  # fmt: skip
            self.rows |= {row.user: row for row in one.rows}
        return refused

    def with_work(self, number: int) -> list[Row]:
        return [row for row in self.rows.values() if row.has_work and PARTITION[row.user] == number]


class Around(Protocol):
    """What the world is for a process."""

    rng: random.Random
    store: Store
    log: list[AnyEvent]
    now: float

    def wrote(self, process: "Process", writes: list[Write]) -> None:
        """The store has accepted writes."""


@dataclass
class Reading:
    """A reader of a partition: where it is, and what was stored before it began."""

    at: int
    replayed_up_to: int


@dataclass
class Counts:
    """What has happened, so that a test can show that it did."""

    evicted: int = 0
    came_back: int = 0
    lost: int = 0
    released: int = 0
    taken_again: int = 0


@dataclass(eq=False)
class Process:
    """One process: the worker's thread, and tasks of its asyncio thread in progress."""

    world: Around
    name: str
    counts: Counts
    is_frozen: bool = False
    calls: dict[str, Call] = field(default_factory=dict)
    completions: list[Journaled] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    """What the asyncio thread goes on with at any time, in any order."""
    slow: list[Task] = field(default_factory=list)
    """Those of them that take longer than usual."""
    news: deque[Task] = field(default_factory=deque)
    """What it tells the worker next, in this order."""
    held: dict[int, HeldPartition] = field(default_factory=dict)
    readers: dict[int, Reading] = field(default_factory=dict)
    mine: dict[int, int] = field(default_factory=dict)
    """The epochs of the partitions that it believes to hold."""

    def __post_init__(self) -> None:
        clock = lambda: self.world.now  # noqa: E731
        self.memory = InMemory(self.name, IdleConversations(EVICT_AFTER_S, clock), clock)
        self.results: deque[tuple[str, Result]] = deque()
        self._build = ConversationStep.builder(Rules(WINDOW), self.memory, _never)
        self.steps: dict[str, ConversationStep] = {}
        self._writing: list[tuple[HeldPartition, Write]] = []
        self._handing: list[tuple[str, list[Heard]]] = []
        self._seen: set[str] = set()
        self._held_before: set[int] = set()

    # --- the worker ---------------------------------------------------------------------------

    def step(self) -> None:
        """One step of the worker: takes items, or hands one user's items to their step."""
        if not self._handing:
            by_user: dict[str, list[Heard]] = {}
            for user, heard in self.memory.take(self.results, self):
                by_user.setdefault(user, []).append(heard)
            self._handing = sorted(by_user.items())
            self.world.rng.shuffle(self._handing)
            return
        self.memory.take(self.results, self)  # it must not take more while items are in the flow
        user, values = self._handing.pop()
        step = self.steps.get(user)
        if step is None:
            self.counts.came_back += user in self._seen
            step = self._build(None)
        effects, is_discarded = step.on_batch(values)
        self._follow(effects)
        if is_discarded:
            self.steps.pop(user, None)
            self.counts.evicted += PARTITION[user] in self.mine
            return
        self._seen.add(user)
        self.steps[user] = step
        if step.notify_at() is not None and self.world.rng.random() < NOTIFIED:
            self._follow(step.on_notify()[0])

    def _follow(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Cancel):
                if (call := self.calls.get(effect.prompt_id)) is not None:
                    call.ended = effect.outcome
            elif isinstance(effect, CallModel | Settle):
                self.calls[effect.ask.id] = Call(effect)

    def may_answer(self, user: str) -> bool:
        """Whether it has questions of a user, rightly or not."""
        asking = {call.effect.ask.user for call in self.calls.values()}
        asking |= {journaled.reply.user for journaled in self.completions}
        return PARTITION[user] in self.mine or user in self.steps or user in asking

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in progress, and everything is stored."""
        busy = (
            self.calls, self.completions, self.tasks, self.slow, self.news, self.results,
            self._handing, self.memory._is_writing, self.memory._news,
        )  # fmt: skip
        return not any(busy) and all(
            not (held.loading or held.changed or held.events) and held.position == held.stored
            for held in self.held.values()
        )

    # --- for the worker, as `PartitionStorage` does it ------------------------------------------

    def begin_reading(self, held: HeldPartition, users: list[str]) -> None:
        def read() -> None:
            if held.is_over:
                return
            rows = self.world.store.rows
            found = {user: rows[user].saved for user in users if user in rows}
            # The partition can be over by then, or be held again.
            self.tasks.append(lambda: self._tell_later(Found(held, users, found)))

        self.tasks.append(read)

    @property
    def asked_to_write(self) -> list[Write]:
        """What it has asked the store to write, which may have happened already."""
        return [write for _, write in self._writing]

    def begin_writing(self, writes: list[tuple[HeldPartition, Write]]) -> None:
        answering = frozenset(self.calls)
        writes = [
            (held, replace(write, answering=answering) if write.release else write)
            for held, write in writes
        ]
        self._writing = writes
        self.tasks.append(lambda: self._write(writes))

    def _write(self, writes: list[tuple[HeldPartition, Write]]) -> None:
        left = [(held, write) for held, write in writes if not held.is_over]
        asked = [write for _, write in left]
        refused = self.world.store.write(asked)
        self.world.wrote(self, [write for write in asked if write.partition not in refused])
        if self.world.rng.random() < 0.2:  # the acknowledgement is lost
            self.tasks.append(lambda: self._write(writes))
            return

        def end() -> None:
            for held, write in left:
                if held.is_over:
                    continue
                if held.number in refused:
                    self.lose(held.number)
                elif write.release:
                    held.is_over = True
                    del self.held[held.number], self.mine[held.number]
                    self.counts.released += 1
            self._writing = []
            self._tell_later(Written(writes))

        self.tasks.append(end)

    def _tell_later(self, news: Gained | Given | Over | Found | Written) -> None:
        self.news.append(lambda: self.memory.tell(news))

    # --- the asyncio thread -------------------------------------------------------------------

    def goes_on(self) -> None:
        """One of its tasks goes on, or the worker is told something."""
        rng = self.world.rng
        if self.news and (not self.tasks or rng.random() < 0.5):
            self.news.popleft()()
        elif self.tasks:
            task = self.tasks.pop(rng.randrange(len(self.tasks)))
            if rng.random() < SLOW:
                self.slow.append(task)
            else:
                task()
        elif self.slow and rng.random() < SLOW:
            self.slow.pop(rng.randrange(len(self.slow)))()

    def reads(self) -> None:
        """Its readers get what comes next."""
        for number, reading in self.readers.items():
            if self.world.rng.random() < 0.3:
                continue
            held = self.held[number]
            for event in self.world.log[reading.at : reading.at + 3]:
                reading.at += 1
                if PARTITION[event.user] == number:
                    arrived = Arrived(event, replayed=reading.at <= reading.replayed_up_to)
                    held.events.append(Read(Position(reading.at), event.user, arrived))

    def claim(self, number: int) -> None:
        """Claims a partition that it takes for free."""
        if number in self.mine:
            return
        claim = self.world.store.claim(self.name, number, self.world.store.claims[number].epoch)
        assert claim is not None
        held = HeldPartition(number, claim.epoch, claim.position, claim.position)
        self.mine[number] = claim.epoch
        self.held[number] = held
        self.counts.taken_again += number in self._held_before
        self._held_before.add(number)

        def read() -> None:
            rows = self.world.store.with_work(number)
            self.tasks.append(lambda: self._gain(held, rows, claim.answering))

        self.tasks.append(read)

    def _gain(self, held: HeldPartition, rows: list[Row], answering: frozenset[str]) -> None:
        if not held.is_over:
            self._tell_later(Gained(held, rows, answering))
            reading = Reading(held.stored.sequence, len(self.world.log))
            self.readers[held.number] = reading

    def give(self, number: int) -> None:
        """Gives a partition away that it serves."""
        if self.readers.pop(number, None) is not None:
            self._tell_later(Given(self.held[number]))

    def look(self) -> None:
        """Notices which partitions others have claimed."""
        for number, epoch in list(self.mine.items()):
            if self.world.store.claims[number].epoch > epoch:
                self.lose(number)

    def lose(self, number: int) -> None:
        del self.mine[number]
        held = self.held.pop(number)
        held.is_over = True
        self.readers.pop(number, None)
        self.counts.lost += 1
        for prompt_id, call in list(self.calls.items()):
            if call.effect.ask.user in held.users:
                del self.calls[prompt_id]
        self._tell_later(Over(held))


def _never(user: str, saved: bytes, why: str) -> None:
    raise AssertionError(f"{user} cannot be read: {why}: {saved[:80]!r}")
