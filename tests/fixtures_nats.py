"""A real nats-server for a test: its own folder, a free port, streams, `sync_interval: always`.

A test gets a server of its own, which it can kill without affecting others, or shares one.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ops.nats import set_up_streams
from ops.nats_server import NatsServer
from shared.bus import Bus


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    """The server: `url`, `guest_url`, `monitor_url`, `stop()`, `kill()`, and `start()` again."""
    yield from _server(tmp_path / "nats-home" / "nats")


@pytest.fixture(scope="module")
def shared_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One server for all tests of a file, which must not kill it."""
    yield from _server(tmp_path_factory.mktemp("nats"))


def _server(folder: Path) -> Iterator[NatsServer]:
    server = NatsServer(folder, port=0)
    try:
        server.start()
        asyncio.run(set_up_streams(server.url))
        yield server
    finally:
        server.close()


@pytest.fixture
async def bus(nats: NatsServer) -> AsyncIterator[Bus]:
    """A connection to the server, as our processes open it."""
    bus = await Bus.connect(nats.url, name="test")
    yield bus
    await bus.close()
