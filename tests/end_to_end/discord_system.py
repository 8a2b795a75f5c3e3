"""The whole system with a fake Discord: NATS, the dataflow and the adapter are processes."""

import asyncio
from pathlib import Path
from typing import Any, Self

from ops.nats_server import NatsServer
from tests.fakes.discord import FakeDiscord
from tests.fakes.model import FakeModel
from tests.running import Running, dataflow

ANSWERED_WITHIN_S = 60.0


class System:
    """The whole system; each process can be killed and started again."""

    def __init__(self, server: NatsServer, model: FakeModel, home: Path, **env: str) -> None:
        self.server = server
        self.model = model
        self.home = home
        self.fake = FakeDiscord()
        self.flow = dataflow(
            home / "flow", server.url, model.base_url,
            THREADWAX_CONTEXT_TOKENS="1000000", THREADWAX_ANSWER_TOKENS="1000",
        )  # fmt: skip
        self._env = env
        self._starts = 0

    async def __aenter__(self) -> Self:
        await self.fake.start()
        self.flow.start()
        self.start()
        await self.flow.ready()
        await self.ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.adapter.kill()
        self.flow.kill()
        await self.fake.stop()

    def start(self) -> None:
        """Starts the adapter with a new log file."""
        self._starts += 1
        self.adapter = Running(
            "discord",
            log=self.home / f"discord{self._starts}.log",
            env={
                "NATS_URL": self.server.url,
                "THREADWAX_HOME": str(self.home / "adapter"),
                **self.fake.env,
                **self._env,
            },
        ).start()

    async def ready(self) -> None:
        await self.adapter.ready()

    async def answered(self, *messages: int, count: int = 1) -> None:
        """Waits until each of these messages has `count` finished answers."""

        def done() -> bool:
            return all(len(self.finished(m)) >= count for m in messages)

        await self.fake.until(done, seconds=ANSWERED_WITHIN_S)

    def finished(self, message: int) -> list[str]:
        return [text for text in self.fake.replies_to(message) if not text.endswith("▌")]

    def logs(self) -> str:
        return "".join(
            p.read_text(errors="replace") for p in sorted(self.home.glob("discord*.log"))
        )


async def wait_for(condition: Any, *, seconds: float = ANSWERED_WITHIN_S) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)
