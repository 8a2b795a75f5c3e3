"""The beats of the dataflow's processes: who seems silent, and who knows that others may act."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from dataflow.partitions import beats as beats_module
from dataflow.partitions.beats import Beat, Beats, OtherStore
from dataflow.partitions.members import DEAD_AFTER, Members
from ops.nats_server import NatsServer
from shared import names
from shared.bus import Bus
from shared.pulse import now_s
from shared.tasks import end
from tests.fakes.tcp_proxy import TcpProxy

STORE = "store"


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
    before = beats.resumed_at
    proxy.pause()
    while beats.is_fresh:
        await asyncio.sleep(0.01)
    assert beats.resumed_at == before
    healed_at = now_s()
    proxy.resume()
    while not beats.is_fresh:
        await asyncio.sleep(0.01)
    assert beats.resumed_at >= healed_at
