"""A deployment on several machines.

Three NATS servers, PostgreSQL, two dataflow processes and two of each adapter. Slack, Discord and
the model are fakes outside of the hosts, as in reality.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg
import pytest

from shared import lease, names
from shared.bus import Bus
from tests.fakes.discord import FakeDiscord
from tests.fakes.model import FakeModel
from tests.fakes.slack import FakeSlack
from tests.hosts.parts import OLDER, PORTS, NatsPart, Ours, Part, PostgresPart, set_up_by
from tests.namespaces import OUTSIDE, Network
from tests.nats_cluster import NatsCluster
from tests.postgres import Postgres
from tests.running import ROOT, Running

EVICT_S: Final = "2"
"""Short, so that conversations are often read from the store."""

SLACK_GIVES_UP_S: Final = 12.0
"""When Slack forgets a silent connection. Ours ping every 5 s."""

DATABASE: Final = "threadwax"
CONTEXT_TOKENS: Final = "1000000"
"""More than anybody says, so that a request has all of it."""


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

    def recorded(self) -> int:
        """How many answers are in the recorder's table."""
        with psycopg.connect(self.database.url(DATABASE)) as connection:
            found = connection.execute("SELECT count(*) FROM answers").fetchone()
        assert found is not None
        return int(found[0])

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
            "slack": self.slack.env,
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
        # Slack's own figures are a minute and five, which would hide how long we take.
        slack.sockets.retries_s = (1.0, 4.0, 8.0, 16.0, 16.0, 16.0)
        slack.sockets.gives_up_after_s = SLACK_GIVES_UP_S
        made: Deployment | None = None
        try:
            await asyncio.gather(slack.start(), discord.start(), model.start())
            await asyncio.gather(
                asyncio.to_thread(cluster.start), asyncio.to_thread(database.start)
            )
            database.create(DATABASE)
            url = database.url_from_elsewhere(DATABASE)
            made = Deployment(folder, network, cluster, database, url, slack, discord, model)
            made.nats = [NatsPart(n.name, n.on, n) for n in cluster.nodes if n.on is not None]
            await set_up_by(OLDER or ROOT, cluster.url("admin"), replicas=3)
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
