"""The whole system with the web page: NATS, dataflow, recorder and page are processes."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from ops.nats import set_up_streams
from ops.nats_server import NatsServer
from tests.fakes.model import FakeModel
from tests.running import Running, dataflow

ADDRESS = re.compile(r"https?://[^\s\"]+")


class WebSystem:
    """Each process can be killed and started again; the page keeps its port."""

    def __init__(
        self,
        server: NatsServer,
        model: FakeModel,
        home: Path,
        *,
        web_port: int = 0,
        **env: str,
    ) -> None:
        self.server = server
        self.model = model
        self.home = home
        self.env = env
        self.flow = dataflow(home / "flow", server.url, model.base_url, **env)
        self.recorder = self._process("recorder")
        self.port = web_port

    async def __aenter__(self) -> Self:
        self.flow.start()
        self.recorder.start()
        self.start_web()
        try:
            await asyncio.gather(self.flow.ready(), self.recorder.ready(), self.web_ready())
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in (self.web, self.recorder, self.flow):
            process.kill()

    def start_web(self) -> None:
        """Starts the page with a new log file."""
        self.web = self._process("web", THREADWAX_WEB_PORT=str(self.port))
        self.web.log.unlink(missing_ok=True)
        self.web.start()

    async def web_ready(self) -> None:
        await self.web.ready()
        self.port = int(self.address.rpartition(":")[2])

    @property
    def address(self) -> str:
        """Where the page is; without a name, as nobody in particular."""
        found = ADDRESS.search(self.web.log.read_text())
        assert found is not None
        return found[0]

    def address_of(self, name: str) -> str:
        """The page of somebody, without signing in."""
        return f"{self.address}/?user={name}"

    def _process(self, command: str, **env: str) -> Running:
        home = self.home / command
        home.mkdir(parents=True, exist_ok=True)
        return Running(
            command,
            log=home / f"{command}.log",
            env={"NATS_URL": self.server.url, "THREADWAX_HOME": str(home), **self.env, **env},
        )


@asynccontextmanager
async def own_system(home: Path, *, web_port: int = 0, **env: str) -> AsyncIterator[WebSystem]:
    """A system with a NATS server and a model of its own."""
    server = NatsServer(home / "nats", port=0)
    model = await FakeModel().start()
    try:
        server.start()
        await set_up_streams(server.url)
        async with WebSystem(server, model, home / "system", web_port=web_port, **env) as system:
            yield system
    finally:
        await model.stop()
        server.close()
