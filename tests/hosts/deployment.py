"""The parts of a deployment on several machines, each of which can fail, come back or be replaced.

Three NATS servers, PostgreSQL, two dataflow processes and two of each adapter. Slack, Discord and
the model are fakes outside of the hosts, as in reality.
"""

import asyncio
import http.client
import shutil
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import pytest

from ops.nats import set_up_streams
from ops.ports import HOST
from shared import lease, names
from shared.bus import Bus
from tests.fakes.discord import FakeDiscord
from tests.fakes.model import FakeModel
from tests.fakes.slack import APP_TOKEN, BOT_TOKEN, FakeSlack
from tests.namespaces import OUTSIDE, Host, Network
from tests.nats_cluster import NatsCluster, Node
from tests.postgres import Postgres
from tests.running import START_S, Running

EVICT_S: Final = "2"
"""Short, so that conversations are often read from the store."""

PORTS: Final = {
    "dataflow": 8001, "gateway": 8002, "slack": 8003, "discord": 8004, "recorder": 8005,
}  # fmt: skip
"""Where the parts report their status, on their own host only."""

PROBE_S: Final = 2.0
CONTEXT_TOKENS: Final = "1000000"
"""More than anybody says, so that a request has all of it."""


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


@dataclass
class Deployment:
    """All parts, and what they need from outside."""

    folder: Path
    network: Network
    cluster: NatsCluster
    database: Postgres
    database_url: str
    slack: FakeSlack
    discord: FakeDiscord
    model: FakeModel
    nats: list[NatsPart] = field(default_factory=list)
    dataflows: list[Ours] = field(default_factory=list)
    adapters: dict[str, list[Ours]] = field(default_factory=dict)
    recorders: list[Ours] = field(default_factory=list)
    made: int = 0

    @property
    def ours(self) -> list[Ours]:
        """Our own processes."""
        adapters = [one for pair in self.adapters.values() for one in pair]
        return [*self.dataflows, *self.recorders, *adapters]

    def another(self, kind: str) -> Ours:
        """One more process of a kind, on a new host, not yet started."""
        return self.dataflow() if kind == "dataflow" else self.adapter(kind)

    def remove(self, one: Ours) -> None:
        """Counts it no longer: it does not come back."""
        (self.dataflows if one.kind == "dataflow" else self.adapters[one.kind]).remove(one)

    @property
    def postgres(self) -> PostgresPart:
        assert self.database.on is not None
        return PostgresPart("postgres", self.database.on, self.database)

    def dataflow(self) -> Ours:
        """One more dataflow, on a new host, not yet started."""
        one = self._ours(
            "dataflow",
            OPENAI_BASE_URL=self.model.base_url, OPENAI_API_KEY="test-key", THREADWAX_MODEL="fake",
            DATABASE_URL=self.database_url, THREADWAX_EVICT_AFTER_S=EVICT_S,
            THREADWAX_CONTEXT_TOKENS=CONTEXT_TOKENS, THREADWAX_ANSWER_TOKENS="1000",
        )  # fmt: skip
        self.dataflows.append(one)
        return one

    def recorder(self) -> Ours:
        """The recorder, not yet started."""
        one = self._ours("recorder", DATABASE_URL=self.database_url)
        self.recorders.append(one)
        return one

    def adapter(self, kind: str) -> Ours:
        """One more adapter, on a new host, not yet started."""
        platforms = {
            "gateway": {},
            "slack": {
                "SLACK_API_URL": self.slack.url,
                "SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_APP_TOKEN": APP_TOKEN,
            },
            "discord": self.discord.env,
        }  # fmt: skip
        one = self._ours(kind, **platforms[kind])
        self.adapters.setdefault(kind, []).append(one)
        return one

    def _ours(self, kind: str, **env: str) -> Ours:
        self.made += 1
        name = f"{kind}-{self.made}"
        host, home = self.network.add(name), self.folder / name
        env |= self.cluster.env(kind)
        env |= {"THREADWAX_HOME": str(home), "THREADWAX_HTTP_PORT": str(PORTS[kind])}
        return Ours(name, host, Running(kind, log=self.folder / name, env=env, on=host), home)

    async def one_of(self, kind: str, admin: Bus) -> Part:
        """The one that matters most: the leader of the stream of questions, or who is connected."""
        match kind:
            case "NATS server":
                return self.leader(names.PROMPTS)
            case "PostgreSQL":
                return self.postgres
            case "discord":
                return await self.leased(admin)
            case "dataflow":
                return self.dataflows[0]
            case _:
                return self.adapters[kind][0]

    async def leased(self, admin: Bus) -> Ours:
        """The Discord adapter that is connected."""
        while not (host := (await lease.look(admin, "discord"))[0].host):
            await asyncio.sleep(0.1)
        return next(one for one in self.adapters["discord"] if one.name == host)

    def leader(self, stream: str) -> NatsPart:
        """The server that leads a stream."""
        name = ""
        while not name:
            name = self.cluster.leader(stream)
        return next(part for part in self.nats if part.name == name)


@asynccontextmanager
async def deployed(folder: Path, *kinds: str, recorder: bool = False) -> AsyncIterator[Deployment]:
    """Everything, running and ready, with two adapters of each of these kinds."""
    with Network() as network, pytest.MonkeyPatch.context() as patch:
        cluster = NatsCluster(folder / "nats", [network.add(f"nats-{n}") for n in (1, 2, 3)])
        patch.setenv("SSL_CERT_FILE", str(cluster.authority))
        database = Postgres(network.add("postgres"))
        slack, discord, model = FakeSlack(), FakeDiscord(), FakeModel()
        slack.host = discord.host = model.host = OUTSIDE
        slack.sockets.retries_s = (1.0, 4.0, 8.0, 16.0, 16.0, 16.0)
        made: Deployment | None = None
        try:
            await asyncio.gather(slack.start(), discord.start(), model.start())
            await asyncio.gather(
                asyncio.to_thread(cluster.start), asyncio.to_thread(database.start)
            )
            database.create("threadwax")
            url = database.url_from_elsewhere("threadwax")
            made = Deployment(folder, network, cluster, database, url, slack, discord, model)
            made.nats = [NatsPart(n.name, n.on, n) for n in cluster.nodes if n.on is not None]
            await set_up_streams(cluster.url("admin"), replicas=3)
            for kind in kinds:
                made.adapter(kind)
                made.adapter(kind)
            made.dataflow()
            made.dataflow()
            if recorder:
                made.recorder()
            # One after the other: all at once would take longer on few processors.
            for one in made.ours:
                await one.start()
            yield made
        finally:
            for one in made.ours if made else ():
                one.kill()
            cluster.close()
            database.close()
            await asyncio.gather(slack.stop(), discord.stop(), model.stop())


def _readyz(port: int) -> tuple[bool, str]:
    connection = http.client.HTTPConnection(HOST, port, timeout=PROBE_S)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return response.status == http.HTTPStatus.OK, response.read().decode().strip()
    except (OSError, http.client.HTTPException, ssl.SSLError) as error:
        return False, repr(error)
    finally:
        connection.close()
