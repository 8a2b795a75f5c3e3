"""A lease in a real NATS: one holder at a time, and another one soon after that is gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from nats.aio.msg import Msg

from ops.nats import set_up_streams
from ops.nats_server import NatsServer
from shared import lease as lease_module
from shared import lease_notes, names
from shared.bus import Bus
from shared.lease import Lease, look
from shared.lease_notes import Note
from shared.pulse import now_s
from shared.tasks import end
from tests.fakes.tcp_proxy import TcpProxy

NAME = "test"


@pytest.fixture(autouse=True)
def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same proportions, twice as fast."""
    for module, numbers in (
        (lease_module, ("RENEW_EVERY_S", "STORED_WITHIN_S", "RETRY_S", "CHECK_EVERY_S",
                        "LOST_AFTER_S", "LOOK_EVERY_S")),
        (lease_notes, ("BEAT_S", "CUT_OFF_S", "FRESH_S")),
    ):  # fmt: skip
        for number in numbers:
            monkeypatch.setattr(module, number, getattr(module, number) / 2)


class Process:
    """A process that wants the lease, over a connection that can be cut."""

    def __init__(self, place: str, stack: AsyncExitStack, url: str) -> None:
        self.place = place
        self.stack = stack
        self.url = url
        self.position = 0

    async def start(self, *, quiet_s: float = 0.0) -> "Process":
        self.proxy = await TcpProxy.start(self.url)
        self.stack.push_async_callback(self.proxy.stop)
        self.bus = await Bus.connect(self.proxy.url(self.url), name=self.place)
        self.stack.push_async_callback(self.bus.close)
        self.lease = Lease(self.bus, NAME, place=self.place, position=lambda: self.position)
        self.acquiring = asyncio.create_task(self.lease.acquire(quiet_s=quiet_s))
        self.keeping: asyncio.Task[None] | None = None
        self.stack.push_async_callback(self.stop)
        return self

    async def held(self) -> int:
        position = await self.acquiring
        self.keeping = asyncio.create_task(self.lease.keep())
        return position

    async def stop(self) -> None:
        await end(self.acquiring, *([self.keeping] if self.keeping else []))


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with asyncio.timeout(50), AsyncExitStack() as stack:
        yield stack


async def test_the_next_holder_takes_over_from_a_silent_one(
    nats: NatsServer, stack: AsyncExitStack
) -> None:
    """With the position of the last renewal. The old one then may no longer renew."""
    first = await Process("a", stack, nats.url).start()
    assert await first.held() == 0
    first.position = 12
    second = await Process("b", stack, nats.url).start()
    await asyncio.sleep(3 * lease_module.RENEW_EVERY_S)
    assert not second.lease.is_held
    assert second.lease.holder.place == "a"
    await first.stop()  # a process that was killed frees nothing
    assert await second.held() == 12
    assert await first.lease._renew() is False


async def test_a_holder_without_nats_stops_before_another_starts(
    nats: NatsServer, stack: AsyncExitStack
) -> None:
    """Its connection is silent: nothing tells it that it is cut off."""
    first = await Process("a", stack, nats.url).start()
    await first.held()
    second = await Process("b", stack, nats.url).start()
    await asyncio.sleep(2 * lease_module.LOOK_EVERY_S)  # the first one hears that it waits
    first.proxy.pause()
    assert first.keeping is not None
    await asyncio.wait({first.keeping, second.acquiring}, return_when=asyncio.FIRST_COMPLETED)
    assert first.keeping.done()
    assert not second.acquiring.done()
    await second.held()
    first.proxy.resume()


async def test_a_holder_that_is_alone_outlives_an_outage_of_nats(
    nats: NatsServer, stack: AsyncExitStack
) -> None:
    """Nobody waits for the lease, so there is no reason to stop."""
    first = await Process("a", stack, nats.url).start()
    await first.held()
    first.proxy.pause()
    await asyncio.sleep(2 * lease_module.LOST_AFTER_S)
    first.proxy.resume()
    await asyncio.sleep(2 * lease_module.RENEW_EVERY_S)
    assert first.lease.is_held
    assert (await look(first.bus, NAME))[0].place == "a"


async def test_a_restart_on_the_same_data_folder_waits_for_nobody(
    nats: NatsServer, stack: AsyncExitStack
) -> None:
    """Its lock proves that the former process is gone."""
    first = await Process("a", stack, nats.url).start()
    await first.held()
    await first.stop()
    again = await Process("a", stack, nats.url).start()
    async with asyncio.timeout(lease_module.LOOK_EVERY_S * 3):
        await again.held()


async def test_a_freed_lease_is_taken_at_once_by_one_of_several(
    nats: NatsServer, stack: AsyncExitStack
) -> None:
    first = await Process("a", stack, nats.url).start()
    await first.held()
    others = [await Process(place, stack, nats.url).start() for place in "bcd"]
    while not all(other.lease.holder.process for other in others):
        await asyncio.sleep(0.02)
    await first.stop()
    await first.lease.release()
    acquiring = {other.acquiring for other in others}
    done, _ = await asyncio.wait(
        acquiring, timeout=lease_module.LOOK_EVERY_S * 3, return_when=asyncio.FIRST_COMPLETED
    )
    assert len(done) == 1
    await asyncio.sleep(lease_module.LOOK_EVERY_S)
    assert sum(other.lease.is_held for other in others) == 1


async def test_a_missing_bucket_is_waited_for(nats: NatsServer, stack: AsyncExitStack) -> None:
    """As after an upgrade without the setup."""
    bus = await Bus.connect(nats.url, name="setup")
    stack.push_async_callback(bus.close)
    await bus.js.delete_stream(names.LEASES_STREAM)
    first = await Process("a", stack, nats.url).start()
    await asyncio.sleep(3 * lease_module.LOOK_EVERY_S)
    assert not first.acquiring.done()
    await set_up_streams(nats.url)
    await first.held()


async def test_a_process_that_stepped_aside_takes_the_lease_only_from_nobody(
    nats: NatsServer, stack: AsyncExitStack
) -> None:
    """It does not ask for it, so the holder counts as alone; but it takes a free one."""
    first = await Process("a", stack, nats.url).start()
    await first.held()
    second = await Process("b", stack, nats.url).start(quiet_s=60.0)
    await asyncio.sleep(4 * lease_module.LOOK_EVERY_S)
    assert not first.lease.others_wait
    await first.stop()
    await first.lease.release()
    async with asyncio.timeout(lease_module.LOOK_EVERY_S * 3):
        await second.held()


async def test_own_notes_that_come_back_late_do_not_make_the_holder_seem_silent(
    nats: NatsServer, stack: AsyncExitStack
) -> None:
    """After a cut of a few seconds, they all arrive at the same moment."""
    first = await Process("a", stack, nats.url).start()
    await first.held()
    second = await Process("b", stack, nats.url).start()
    while not first.lease.others_wait:
        await asyncio.sleep(0.02)
    late = Note(process=second.lease._own.process, kind="waiting", at=now_s() - 3.0)
    for _ in range(2 * lease_notes.SILENT_BEATS):
        await first.bus.client.publish(names.lease_notes(NAME), late.model_dump_json().encode())
    await asyncio.sleep(2 * lease_module.LOOK_EVERY_S)
    assert first.lease.is_held
    assert not second.lease.is_held


async def test_versions_without_beats_hear_that_somebody_waits_and_are_heard(
    nats: NatsServer, stack: AsyncExitStack
) -> None:
    """Otherwise a holder that is cut off would not step down while versions are mixed."""
    first = await Process("a", stack, nats.url).start()
    await first.held()
    heard = asyncio.Event()

    async def hear(message: Msg) -> None:
        if message.data == b"waiting":
            heard.set()

    old = await Bus.connect(nats.url, name="old")
    stack.push_async_callback(old.close)
    await old.watch(names.lease_notes(NAME), hear)
    await old.client.publish(names.lease_notes(NAME), b"waiting")
    while not first.lease.others_wait:
        await asyncio.sleep(0.02)
    heard.clear()  # that was the one of this test
    second = await Process("b", stack, nats.url).start()
    await heard.wait()
    assert not second.lease.others_wait
