"""Reads and writes the conversations of the partitions that are held, and reads their events.

Runs in the asyncio thread. It retries until the store answers, unless the partition is over.
"""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from typing import Final, Literal, Protocol

from dataflow.io_thread import IoThread
from dataflow.partitions import reader
from dataflow.partitions.held import (
    Found,
    Gained,
    Given,
    HeldPartition,
    MayBeTooOld,
    News,
    Over,
    Written,
)
from dataflow.partitions.in_memory import InMemory
from dataflow.store.store import Claim, Row, Store, StoreAway, Write
from shared import lifecycle, metrics
from shared.bus import Bus
from shared.log import logger
from shared.partitioning import partition_of

AGAIN_S: Final = 0.5
"""The wait before a store that does not answer is asked again."""

MEANWHILE: Final = (
    "people whose conversations are in memory are answered, and everything is stored later"
)

Work = Literal["read", "write"]


class Owner(Protocol):
    """What is told how the writes of partitions end."""

    def refused(self, partition: int) -> None:
        """Another process has claimed the partition."""

    def released(self, partition: int) -> None:
        """The partition is stored, and free."""


class Answers(Protocol):
    """The answers in progress in this process."""

    def to(self, users: Collection[str]) -> frozenset[str]:
        """The questions of these users that are being answered."""

    def abandon(self, users: Collection[str]) -> None:
        """Ends the answers to these users without a reply: another process gives it."""


class PartitionStorage:
    """The asyncio side of `InMemory`: it does what that must not wait for."""

    def __init__(
        self,
        io: IoThread,
        bus: Bus,
        store: Store,
        in_memory: InMemory,
        answers: Answers,
        *,
        partitions: int,
    ) -> None:
        """`partitions`: how many there are."""
        self._io = io
        self._bus = bus
        self._store = store
        self._in_memory = in_memory
        self._answers = answers
        self._partitions = partitions
        self._held: dict[int, HeldPartition] = {}
        self._cannot: set[Work] = set()
        self.owner: Owner | None = None

    # --- for the assignment -------------------------------------------------------------------

    async def gain(self, partition: int, claim: Claim, answered_elsewhere: frozenset[str]) -> None:
        """Begins to serve a partition that was claimed."""
        held = HeldPartition(partition, claim.epoch, claim.position, claim.position)
        self._held[partition] = held
        with_work = await self._with_work(held)
        if held.is_over:
            return
        self._tell(Gained(held, with_work, answered_elsewhere))
        following = reader.read(self._bus, partition, claim.position, held.events, self._io.wake)
        held.reader = self._io.task(following)

    async def _with_work(self, held: HeldPartition) -> list[Row]:
        while not held.is_over:
            try:
                return await self._store.with_work(held.number)
            except StoreAway as error:
                await self._away("read", error)
        return []

    def give(self, partition: int) -> None:
        """Takes no more events of a partition; its next write releases it."""
        held = self._held[partition]
        _end_reader(held)
        self._tell(Given(held))

    def lose(self, partition: int) -> None:
        """Stops serving a partition that another process has."""
        held = self._held[partition]
        self._end(held)
        _end_reader(held)
        self._answers.abandon(tuple(held.users))
        self._tell(Over(held))

    def _end(self, held: HeldPartition) -> None:
        held.is_over = True
        del self._held[held.number]
        for waiting in held.until_written.values():
            for one in waiting:
                _resolve(one, written=False)

    # --- for erasures -------------------------------------------------------------------------

    def until_written(self, user: str) -> asyncio.Future[bool]:
        """True when the conversation is stored as it is now; False when this process cannot do it.

        Then another process has the conversation. Call it at once for a change that the flow made.
        """
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        held = self._held.get(partition_of(user, self._partitions))
        if held is None:
            waiting.set_result(False)
        else:
            held.until_written.setdefault(user, []).append(waiting)
        return waiting

    def recheck(self, partition: int, users: list[str]) -> None:
        """Has conversations drop what is too old."""
        if (held := self._held.get(partition)) is not None:
            self._tell(MayBeTooOld(held, users))

    @property
    def partitions(self) -> list[int]:
        """The partitions that are held."""
        return list(self._held)

    # --- for the worker: called in its thread ---------------------------------------------------

    def begin_reading(self, held: HeldPartition, users: list[str]) -> None:
        """Reads conversations; `Found` is told."""
        self._io.spawn(self._read(held, users))

    def begin_writing(self, writes: list[tuple[HeldPartition, Write]]) -> None:
        """Writes partitions; `Written` is told."""
        self._io.soon(self._begin_writing, writes)

    # --- the asyncio thread -------------------------------------------------------------------

    async def _read(self, held: HeldPartition, users: list[str]) -> None:
        while not held.is_over:
            try:
                found = await self._store.get(users)
            except StoreAway as error:
                await self._away("read", error)
            else:
                self._back("read")
                metrics.restored.inc(len(found))
                self._tell(Found(held, users, found))
                return

    def _begin_writing(self, writes: list[tuple[HeldPartition, Write]]) -> None:
        # At once: whoever waits from now on waits for a later write.
        waiting = [
            (held, one)
            for held, write in writes
            for row in write.rows
            for one in held.until_written.pop(row.user, ())
        ]
        writes = [(held, self._naming_answers(held, write)) for held, write in writes]
        self._io.spawn(self._write(writes, waiting))

    def _naming_answers(self, held: HeldPartition, write: Write) -> Write:
        return replace(write, answering=self._answers.to(held.users)) if write.release else write

    async def _write(
        self,
        writes: list[tuple[HeldPartition, Write]],
        waiting: list[tuple[HeldPartition, asyncio.Future[bool]]],
    ) -> None:
        left = writes
        refused: set[int] = set()
        while left := [(held, write) for held, write in left if not held.is_over]:
            try:
                refused = await self._store.write([write for _, write in left])
            except StoreAway as error:
                await self._away("write", error)
                continue
            self._back("write")
            for held, write in left:
                self._conclude(held, refused=held.number in refused, released=write.release)
            break
        stored = {held.number for held, _ in left} - refused
        for held, one in waiting:
            _resolve(one, written=held.number in stored)
        self._tell(Written(writes))

    def _conclude(self, held: HeldPartition, *, refused: bool, released: bool) -> None:
        if self.owner is None:
            raise AssertionError("only an owner gains partitions")
        if held.is_over:
            return  # lost while it was written
        if refused:
            self.owner.refused(held.number)
        elif released:
            self._end(held)
            self.owner.released(held.number)

    def _tell(self, news: News) -> None:
        self._in_memory.tell(news)
        self._io.wake()

    async def _away(self, work: Work, error: StoreAway) -> None:
        if not self._cannot:
            logger().error(
                "the store of conversations cannot be used: trying again", why=str(error)
            )
            lifecycle.say_if_supervised(
                f"the store of conversations cannot be used: {error}; {MEANWHILE}"
            )
        self._cannot.add(work)
        await asyncio.sleep(AGAIN_S)

    def _back(self, work: Work) -> None:
        if not self._cannot:
            return
        # A full disk can be read, but not written.
        self._cannot -= {"read"} if work == "read" else {"read", "write"}
        if not self._cannot:
            logger().warning("the store of conversations works again")
            lifecycle.say_if_supervised("the store of conversations works again")


def _end_reader(held: HeldPartition) -> None:
    if held.reader is not None:
        held.reader.cancel()


def _resolve(waiting: asyncio.Future[bool], *, written: bool) -> None:
    if not waiting.done():  # its waiter may be cancelled
        waiting.set_result(written)
