"""Several dataflow processes that share users, and people who talk while they come and go."""

import asyncio
import itertools
import signal
import time
from pathlib import Path
from typing import Final

from shared.bus import Bus
from tests.fakes.model import FakeModel
from tests.fakes.tcp_proxy import TcpProxy
from tests.running import Running, answer_to, dataflow, question

USERS: Final = tuple(f"user{number}" for number in range(12))
EVICT_S: Final = "2"
"""Short, so that conversations are often read from the store."""

ANSWERED_WITHIN_S: Final = 60.0
SERVED: Final = "serves partitions"


class Members:
    """Processes with data folders of their own, or with one for all, each behind a proxy."""

    def __init__(
        self, folder: Path, nats_url: str, model: FakeModel, database_url: str = ""
    ) -> None:
        """Without a database, all members use one data folder."""
        self._folder = folder
        self._nats_url = nats_url
        self._model = model
        self._database = {"DATABASE_URL": database_url} if database_url else {}
        self._made = 0
        self.all: list[Running] = []
        self.proxies: list[TcpProxy] = []

    async def add(self) -> None:
        """Starts another member."""
        number = self._made
        self._made += 1
        proxy = await TcpProxy.start(self._nats_url)
        home = self._folder / (f"home{number}" if self._database else "home")
        member = dataflow(
            home, proxy.url(self._nats_url), self._model.base_url,
            THREADWAX_EVICT_AFTER_S=EVICT_S, **self._database,
        )  # fmt: skip
        member.log = self._folder / f"member{number}.log"
        self.proxies.append(proxy)
        self.all.append(member)
        await member.start().ready()

    async def restart(self, number: int) -> None:
        """Starts a member again, with a log of its own for each life."""
        member = self.all[number]
        member.log = member.log.with_name(f"{member.log.stem}-again.log")
        await member.start().ready()

    async def close(self) -> None:
        for member in self.all:
            if member.process is not None and member.process.poll() is None:
                member.signal(signal.SIGCONT)
                member.kill()
        for proxy in self.proxies:
            await proxy.stop()

    async def stop(self) -> None:
        """Stops those that run."""
        running = [one for one in self.all if one.process and one.process.poll() is None]
        codes = await asyncio.gather(*(member.stop() for member in running))
        logs = [
            one.log.read_text()[-3000:] for one, code in zip(running, codes, strict=True) if code
        ]
        assert not any(codes), f"{codes}: {logs}"


class Talk:
    """People who ask one question after the other, and how long each waited."""

    def __init__(self, bus: Bus, model: FakeModel) -> None:
        self._bus = bus
        self._model = model
        self._numbers = {user: itertools.count() for user in USERS}
        self.asked = dict.fromkeys(USERS, 0)
        self.longest_s = 0.0

    async def ask(self, user: str) -> None:
        number = next(self._numbers[user])
        started = time.monotonic()
        await answer_to(
            self._bus, question(user, number, f"{user} {number}."), timeout_s=ANSWERED_WITHIN_S
        )
        self.longest_s = max(self.longest_s, time.monotonic() - started)
        self.asked[user] = number + 1

    async def until(self, over: asyncio.Event, pause_s: float) -> None:
        """Everybody asks, again and again, until it is over."""

        async def one(user: str) -> None:
            while not over.is_set():
                await self.ask(user)
                await asyncio.sleep(pause_s)

        await asyncio.gather(*(one(user) for user in USERS))

    async def everybody_remembers(self) -> None:
        """Checks that the next request of each person has all their questions, once, in order."""
        for user in USERS:
            number = self.asked[user]
            await self.ask(user)
            wanted = [f"{user} {n}." for n in range(number + 1)]
            said = self._said(user, number)
            missing = sorted(set(wanted) - set(said))
            assert said == wanted, f"{user}: {len(said)} instead of {number + 1}; missing {missing}"

    def _said(self, user: str, number: int) -> list[str]:
        for request in reversed(self._model.requests):
            contents = [message["content"] for message in request["messages"]]
            if contents[-1] == f"{user} {number}.":
                return [text for text in contents if text.startswith(f"{user} ")]
        raise AssertionError(f"{user} {number} was never asked")

    @property
    def wasted_calls(self) -> int:
        """How many questions the model was asked more often than once."""
        asked = [request["messages"][-1]["content"] for request in self._model.requests]
        return len(asked) - len(set(asked))
