"""The beats of the dataflow's processes: who seems silent, and who knows that others may act."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from dataflow.io_thread import IoThread
from dataflow.partitions import assignment as assignment_module
from dataflow.partitions import beats as beats_module
from dataflow.partitions.assignment import Assignment
from dataflow.partitions.beats import Beat, Beats, OtherStore
from dataflow.partitions.member_locks import MemberLocks
from dataflow.partitions.members import DEAD_AFTER, Members
from dataflow.partitions.storage import PartitionStorage
from dataflow.store.sqlite import SqliteStore
from dataflow.store.store import Claim
from ops.nats_server import NatsServer
from shared import names
from shared.bus import Bus
from shared.pulse import now_s
from shared.tasks import end
from tests.fakes.tcp_proxy import TcpProxy

STORE = "store"
PARTITIONS = 4


def fails(error: OtherStore) -> None:
    raise error


def beats_of(bus: Bus, members: Members) -> Beats:
    return Beats(
        bus, members, STORE, is_well=lambda: True, on_news=lambda: None, on_other_store=fails
    )


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with asyncio.timeout(40), AsyncExitStack() as stack:
        yield stack


async def sent(bus: Bus, member: str, late_s: float = 0.0) -> None:
    beat = Beat(member=member, store=STORE, at=now_s() - late_s)
    await bus.client.publish(names.MEMBER_BEATS, beat.model_dump_json().encode())


async def test_own_beats_that_come_back_late_make_nobody_seem_silent(bus: Bus) -> None:
    """After a cut of a few seconds, they all arrive at the same moment."""
    members = Members("me")
    await beats_of(bus, members).listen()
    await sent(bus, "me")
    await sent(bus, "other")
    for _ in range(2 * DEAD_AFTER):
        await sent(bus, "me", late_s=beats_module.LATE_S + 0.5)
    await bus.client.flush()
    await sent(bus, "last")
    while not members.is_heard("last"):
        await asyncio.sleep(0.01)
    assert members.is_heard("other")
    for _ in range(DEAD_AFTER):
        await sent(bus, "me")
    while members.is_heard("other"):
        await asyncio.sleep(0.01)


async def test_a_member_notices_that_others_may_have_taken_its_partitions(
    nats: NatsServer, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection is silent for a while; nothing else tells it."""
    monkeypatch.setattr(beats_module, "FRESH_S", 1.0)
    proxy = await TcpProxy.start(nats.url)
    stack.push_async_callback(proxy.stop)
    bus = await Bus.connect(proxy.url(nats.url), name="dataflow")
    stack.push_async_callback(bus.close)
    members = Members("me")
    beats = beats_of(bus, members)
    await beats.listen()
    sending = asyncio.create_task(beats.send_forever())
    stack.push_async_callback(end, sending)
    while not members.beats:
        await asyncio.sleep(0.01)
    assert beats.is_fresh
    before = beats._resumed_at
    proxy.pause()
    while beats.is_fresh:
        await asyncio.sleep(0.01)
    assert beats._resumed_at == before
    healed_at = now_s()
    proxy.resume()
    while not beats.is_fresh:
        await asyncio.sleep(0.01)
    assert beats._resumed_at >= healed_at


class NothingServed(PartitionStorage):
    """A storage that is told what the assignment decides, and reads and writes nothing."""

    def __init__(self) -> None:
        self.lost: list[int] = []

    async def gain(self, partition: int, claim: Claim, answered_elsewhere: frozenset[str]) -> None:
        """Does nothing."""

    def lose(self, partition: int) -> None:
        """Notes it."""
        self.lost.append(partition)


async def serving_all(
    bus: Bus, served: NothingServed, folder: Path, stack: AsyncExitStack
) -> tuple[Assignment, SqliteStore]:
    """The only member, when it has every partition, and its store."""
    store = SqliteStore(folder / "conversations.db")
    await store.open(PARTITIONS)
    stack.push_async_callback(store.close)
    locks = MemberLocks(folder, "me")
    stack.callback(locks.close)
    me = Assignment(
        IoThread(), bus, store, served, locks=locks, members=Members("me"),
        stepped_at=lambda: None, on_other_store=fails,
    )  # fmt: skip
    await me.join()
    stack.push_async_callback(end, asyncio.create_task(me.run()))
    while len(me.held) < PARTITIONS:
        await asyncio.sleep(0.01)
    return me, store


async def test_a_member_whose_beats_never_come_back_keeps_answering(
    nats: NatsServer, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An operator has taken a permission away. Nobody else has claimed its users."""
    monkeypatch.setattr(beats_module, "FRESH_S", 1.0)
    monkeypatch.setattr(beats_module, "DEAF_AFTER_S", 2.0)
    bus = await Bus.connect(nats.url, name="dataflow")
    stack.push_async_callback(bus.close)
    me, _ = await serving_all(bus, NothingServed(), tmp_path, stack)
    monkeypatch.setattr(names, "MEMBER_BEATS", "dataflow.elsewhere")
    await asyncio.sleep(beats_module.FRESH_S + beats_module.BEAT_S)
    certain = asyncio.create_task(me.until_certain())
    await asyncio.sleep(assignment_module.AGAIN_S)
    assert not certain.done()
    async with asyncio.timeout(5):
        await certain


async def test_a_member_is_certain_only_after_it_has_read_who_serves_its_users(
    nats: NatsServer, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another one has claimed everything during a cut that nothing else has told it of."""
    monkeypatch.setattr(beats_module, "FRESH_S", 1.0)
    monkeypatch.setattr(assignment_module, "LOOK_S", 60.0)
    proxy = await TcpProxy.start(nats.url)
    stack.push_async_callback(proxy.stop)
    bus = await Bus.connect(proxy.url(nats.url), name="dataflow")
    stack.push_async_callback(bus.close)
    served = NothingServed()
    me, store = await serving_all(bus, served, tmp_path, stack)
    async with asyncio.timeout(0.1):
        await me.until_certain()
    proxy.pause()
    await asyncio.sleep(beats_module.FRESH_S + beats_module.BEAT_S)
    await store.claim("other", {n: claim.epoch for n, claim in (await store.claims()).items()})
    certain = asyncio.create_task(me.until_certain())
    await asyncio.sleep(assignment_module.AGAIN_S)
    assert not certain.done()
    proxy.resume()
    await certain
    assert sorted(served.lost) == list(range(PARTITIONS))
