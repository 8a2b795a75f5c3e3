"""A real nats-server for a test: its own folder, a free port, streams, `sync_interval: always`.

Each test gets a server of its own, so it can kill it without affecting other tests.
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
    server = NatsServer(tmp_path / "nats-home" / "nats", port=0)
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
