"""A real gateway with its relay, and a stand-in for the dataflow that answers it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bots.gateway.platform import Gateway
from bots.relay import Relay
from ops.nats_server import NatsServer
from shared.bus import Bus
from shared.tasks import end
from tests.fakes.flow import FakeFlow

DEADLINE_S = 10.0
"""Generous, so that a busy machine does not fail a test."""


@pytest.fixture
async def flow(nats: NatsServer) -> AsyncIterator[FakeFlow]:
    """The stand-in for the dataflow."""
    flow = await FakeFlow.start(nats.url)
    yield flow
    await flow.stop()


@pytest.fixture
async def gateway(nats: NatsServer, flow: FakeFlow) -> AsyncIterator[Gateway]:
    """A listening gateway with its relay."""
    del flow
    bus = await Bus.connect(nats.url, name="gateway")
    guests_bus = await Bus.connect(nats.url, name="gateway")
    gateway = Gateway(bus, guests_bus)
    relay = Relay(bus, gateway, consumer="gateway", subject="replies.gateway.>")
    listening = asyncio.create_task(gateway.listen())
    relaying = asyncio.create_task(relay.run())
    async with asyncio.timeout(DEADLINE_S):
        await gateway.listening.wait()
    yield gateway
    await gateway.close()
    async with asyncio.timeout(DEADLINE_S):
        await listening
    await end(relaying)
    await bus.close()
    await guests_bus.close()
