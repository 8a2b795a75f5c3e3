"""The processes of a deployment, each of which can fail, come back or be replaced."""

import asyncio
import http.client
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from ops.ports import HOST
from tests.namespaces import Host
from tests.nats_cluster import Node
from tests.postgres import Postgres
from tests.running import ROOT, START_S, Running

PORTS: Final = {
    "dataflow": 8001, "gateway": 8002, "slack": 8003, "discord": 8004, "recorder": 8005,
}  # fmt: skip
"""Where the parts report their status, on their own host only."""

PROBE_S: Final = 2.0

OLDER: Final = Path(os.environ["UPGRADE_FROM"]) if "UPGRADE_FROM" in os.environ else None
"""The checkout of an older version that every process runs from until it is replaced."""


class Part(Protocol):
    """One process of the deployment, on its host."""

    name: str
    host: Host

    async def start(self) -> None:
        """Starts it; returns when it says that it is ready."""

    async def stop(self) -> None:
        """Ends it with SIGTERM."""

    def kill(self) -> None:
        """Ends it with SIGKILL."""

    def empty(self) -> None:
        """Removes its data: its machine is lost."""


@dataclass
class Ours(Part):
    """A process of ours, with a data folder of its own."""

    name: str
    host: Host
    process: Running
    home: Path
    lives: int = 0

    @property
    def kind(self) -> str:
        return self.process.command[0]

    async def start(self) -> None:
        self.process.source = OLDER if OLDER and not self.lives else ROOT
        self.lives += 1
        self.home.mkdir(parents=True, exist_ok=True)
        self.process.log = self.home.with_name(f"{self.name}-{self.lives}.log")
        await self.process.start().ready()

    async def stop(self) -> None:
        code = await self.process.stop()
        assert code == 0, f"{self.name}: {code}: {self.process.log.read_text()[-3000:]}"

    def kill(self) -> None:
        self.process.kill()

    def empty(self) -> None:
        shutil.rmtree(self.home)

    @property
    def is_running(self) -> bool:
        return self.process.process is not None and self.process.process.poll() is None

    def ready(self) -> tuple[bool, str]:
        """What its host sees at `/readyz`."""
        return self.host.call(_readyz, PORTS[self.kind])


@dataclass
class NatsPart(Part):
    """A server of the cluster."""

    name: str
    host: Host
    node: Node

    async def start(self) -> None:
        self.node.start()
        async with asyncio.timeout(START_S):
            while not await asyncio.to_thread(lambda: self.node.is_healthy):
                await asyncio.sleep(0.1)

    async def stop(self) -> None:
        await asyncio.to_thread(self.node.stop)

    async def leave(self) -> None:
        """Hands over its leaders and connections, and ends ("lame duck")."""
        self.node.signal(signal.SIGUSR2)
        assert self.node.process is not None
        await asyncio.to_thread(self.node.process.wait, START_S)

    def kill(self) -> None:
        self.node.kill()

    def empty(self) -> None:
        shutil.rmtree(self.node.folder / "store")


@dataclass
class PostgresPart(Part):
    """The database server."""

    name: str
    host: Host
    server: Postgres

    async def start(self) -> None:
        await asyncio.to_thread(self.server.start)

    async def stop(self) -> None:
        await asyncio.to_thread(self.server.stop)

    def kill(self) -> None:
        self.server.crash()

    def empty(self) -> None:
        raise AssertionError("nothing else has its data")


async def set_up_by(source: Path, nats_url: str, replicas: int) -> None:
    """Sets up the streams as the version in this checkout does."""
    env = {"NATS_URL": nats_url, "THREADWAX_NATS_REPLICAS": str(replicas)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops", "nats", "--setup-only", cwd=source, env={**os.environ, **env}
    )
    assert await process.wait() == 0


def _readyz(port: int) -> tuple[bool, str]:
    connection = http.client.HTTPConnection(HOST, port, timeout=PROBE_S)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return response.status == http.HTTPStatus.OK, response.read().decode().strip()
    except (OSError, http.client.HTTPException) as error:
        return False, repr(error)
    finally:
        connection.close()
