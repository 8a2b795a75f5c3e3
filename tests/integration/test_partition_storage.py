"""Whoever waits for a conversation to be written hears how it ends, also if it is never written."""

import asyncio
import time
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dataflow.conversation_step import ConversationStep, Rules
from dataflow.erasing import erasing
from dataflow.heard import Heard
from dataflow.io_thread import IoThread
from dataflow.partitions.held import MayBeTooOld, News
from dataflow.partitions.idle import IdleConversations
from dataflow.partitions.in_memory import InMemory
from dataflow.partitions.storage import PartitionStorage
from dataflow.snapshot import Snapshot
from dataflow.store.sqlite import FILE, SqliteStore
from dataflow.store.store import Row, Write
from dataflow.tokens import Window
from dataflow.turn import Turn
from ops.nats_server import NatsServer
from shared.bus import Bus
from shared.follow import Position
from shared.messages import Place
from shared.tasks import end

USER = "test:ada"
KEEP_DAYS = 3
OLD_DAY = datetime.now(UTC).toordinal() - 9
WITHIN_S = 20.0


class NoAnswers:
    """Nothing is being answered."""

    def to(self, users: Collection[str]) -> frozenset[str]:
        """Nothing."""
        del users
        return frozenset()

    def abandon(self, users: Collection[str]) -> None:
        """Nothing."""


class InMemoryTold(InMemory):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("me", IdleConversations(60))
        self.told: list[News] = []

    def tell(self, news: News) -> None:
        self.told.append(news)
        super().tell(news)


@dataclass
class Process:
    """A process with one partition, whose worker takes a step whenever the test says so."""

    home: Path
    bus: Bus
    store: SqliteStore
    in_memory: InMemoryTold
    storage: PartitionStorage
    ended: list[str]
    step: ConversationStep | None = None

    def refused(self, partition: int) -> None:
        self.ended.append("refused")
        self.storage.lose(partition)

    def released(self, partition: int) -> None:
        del partition
        self.ended.append("released")

    async def gain(self) -> None:
        """Claims the partition, and begins to serve it."""
        now = await self.store.claims()
        won = await self.store.claim("me", {0: now[0].epoch})
        await self.storage.gain(0, won[0], frozenset())

    async def lose(self) -> None:
        """Another process claims the partition; this one hears of it."""
        now = await self.store.claims()
        await self.store.claim("other", {0: now[0].epoch})
        self.storage.lose(0)

    def take_step(self) -> None:
        """One step of the worker."""
        by_user: dict[str, list[Heard]] = {}
        for user, heard in self.in_memory.take(deque(), self.storage):
            by_user.setdefault(user, []).append(heard)
        for heard in by_user.values():
            rules = Rules(Window(8000, 1000, ""), keep_days=KEEP_DAYS)
            self.step = self.step or ConversationStep(rules, self.in_memory, lambda *_: None)
            self.step.on_batch(heard)


@pytest.fixture
def io() -> Iterator[IoThread]:
    io = IoThread()
    yield io
    io.soon(io.loop.stop)
    while io.loop.is_running():
        time.sleep(0.01)
    io.loop.close()


@pytest.fixture
def process(io: IoThread, nats: NatsServer, tmp_path: Path) -> Iterator[Process]:
    bus = io.call(Bus.connect(nats.url, name="test"))
    store = SqliteStore(tmp_path / FILE)
    io.call(store.open(1))
    in_memory = InMemoryTold()
    storage = PartitionStorage(io, bus, store, in_memory, NoAnswers(), partitions=1)
    made = Process(tmp_path, bus, store, in_memory, storage, [])
    storage.owner = made
    yield made
    io.call(store.close())
    io.call(bus.close())


def test_who_waits_hears_that_another_process_has_the_partition(
    io: IoThread, process: Process
) -> None:
    """Also for a user who is not in memory, and at once if it has the partition already."""

    async def scenario() -> None:
        await process.gain()
        waiting = process.storage.until_written(USER)
        await process.lose()
        assert await asyncio.wait_for(waiting, WITHIN_S) is False
        assert await asyncio.wait_for(process.storage.until_written(USER), WITHIN_S) is False

    io.call(scenario(), timeout_s=None)


@pytest.mark.parametrize("how", ["refused", "released"])
def test_who_waits_hears_that_the_last_write_is_without_the_user(
    io: IoThread, process: Process, how: str
) -> None:
    async def scenario() -> None:
        await process.gain()
        process.take_step()
        if how == "refused":
            now = await process.store.claims()
            await process.store.claim("other", {0: now[0].epoch})
        process.storage.give(0)
        waiting = process.storage.until_written(USER)
        async with asyncio.timeout(WITHIN_S):
            while not waiting.done():
                process.take_step()
                await asyncio.sleep(0.02)
        assert (process.ended, waiting.result()) == ([how], False)

    io.call(scenario(), timeout_s=None)


def test_old_words_are_looked_for_again_if_the_partition_was_lost_meanwhile(
    io: IoThread, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise they would stay for an hour after it has come back."""
    monkeypatch.setattr(erasing, "KEEP_LOOK_S", 0.1)
    place = Place(platform="test", channel="ada", audience="direct")
    turns = (Turn("q1", place, "old words", "answer", 1, 20, day=OLD_DAY),)
    saved = Snapshot(
        user=USER, pending=(), turns=turns, settled=("q1",), next_order=2, ratio=1.0, cuts={}
    ).dump()  # fmt: skip

    async def scenario() -> None:
        claim = (await process.store.claim("past", {0: 0}))[0]
        await process.store.write(
            [Write(0, claim.epoch, "past", Position(), (Row(USER, saved),), release=True)]
        )
        await process.gain()
        eraser = erasing.Erasing(process.bus, process.store, process.storage, process.home)
        keeping = asyncio.create_task(eraser.keep_only(KEEP_DAYS))
        async with asyncio.timeout(WITHIN_S):
            while not any(isinstance(one, MayBeTooOld) for one in process.in_memory.told):
                await asyncio.sleep(0.02)
        await process.lose()
        process.take_step()
        await process.gain()
        async with asyncio.timeout(WITHIN_S):
            while b"old words" in (await process.store.get([USER]))[USER]:
                process.take_step()
                await asyncio.sleep(0.02)
        await end(keeping)
        process.storage.lose(0)

    io.call(scenario(), timeout_s=None)
