"""The whole system on machines that lose power: real processes with data folders on lossy disks.

Either all parts run on one machine with one data folder, as in `threadwax up`, or each part runs on
its own machine. The fakes never lose power.
"""

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from shared.bus import Bus
from tests.chaos.system import OURS, RECORDED, Part, System
from tests.power.mounts import Mount
from tests.running import START_S, Running

Layout = Literal["one machine", "separate machines"]

PARTS: Final = ("nats", *OURS)
"""Ordered by first start. After a cut, all of them start at once."""

EVICT_AFTER_S: Final = 2
"""The shortest time allowed, so that conversations are evicted and loaded often."""


class _Direct:
    """Replaces a proxy, because no connection is disturbed here."""

    def url(self, target: str) -> str:
        return target

    def retarget(self, url: str) -> None:
        """Does nothing: connections are direct."""


class _Address:
    """Replaces the campaign's server, which is one of the parts here: only its URL is needed."""

    def __init__(self, url: str) -> None:
        self.url = url


class Machines(System):
    """A system of the chaos suite with its data folders on lossy disks."""

    def __init__(
        self,
        home: Path,
        rng: random.Random,
        layout: Layout,
        mutations: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(home, rng, mutations)
        self.layout = layout
        self.mounts: dict[str, Mount] = {}
        self.can_step_clocks = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the machines."""
        return ("all",) if self.layout == "one machine" else PARTS

    def _machine_of(self, part: str) -> str:
        return "all" if self.layout == "one machine" else part

    def _data(self, part: str) -> Path:
        return self.mounts[self._machine_of(part)].folder / "data"

    # --- the first start ------------------------------------------------------------------------

    async def _start(self) -> None:
        for name in self.names:
            self.mounts[name] = Mount(self.home / f"machine-{name}")
            await asyncio.to_thread(self._closing.enter_context, self.mounts[name])
        for fake in (self.slack, self.discord, self.model):
            await fake.start()
            self._closing.push_async_callback(fake.stop)
        (self.home / "logs").mkdir(exist_ok=True)
        self._closing.callback(self._kill_all)
        self.proxies = _DIRECT
        self.server = _Address("")  # type: ignore[assignment]
        await self._start_part("nats", {"THREADWAX_HOME": str(self._data("nats"))}, "--port", "0")
        self.server = _Address(self._address())  # type: ignore[assignment]
        for name in OURS:
            await self._start_part(name, self._env(name))
        self.bus = await Bus.connect(self.server.url, name="power", on_closed=lambda: None)
        self._closing.push_async_callback(self.bus.close)
        await asyncio.wait_for(self.discord.gateway.connected.wait(), START_S)

    async def _start_part(self, name: str, env: dict[str, str], *options: str) -> None:
        part = Part(name, self.home / "logs", env, self._mutations.get(name, ""), options=options)
        self.parts[name] = part
        await part.start().ready()

    def _env(self, name: str) -> dict[str, str]:
        env = super()._env(name)
        env["THREADWAX_HOME"] = str(self._data(name))
        env["THREADWAX_EVICT_AFTER_S"] = str(EVICT_AFTER_S)
        if self.layout == "one machine":
            del env["NATS_URL"]  # it reads the URL from nats-server's file
        return env

    def database(self) -> Path:
        return self._data("recorder") / RECORDED

    def _address(self) -> str:
        return (self._data("nats") / "nats" / "url").read_text().strip()

    # --- power ----------------------------------------------------------------------------------

    async def cut(self, names: tuple[str, ...], rng: random.Random) -> None:
        """Cuts the power of machines. Returns when all their processes have ended."""
        for name in names:
            parts = [self.parts[p] for p in PARTS if self._machine_of(p) == name]
            pids = [pid for part in parts for pid in process_tree(part.pid)]
            for part in parts:
                part.expected_down = True

            def kill(pids: list[int] = pids) -> None:
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

            await asyncio.to_thread(self.mounts[name].cut, rng, kill)
            for part in parts:
                await asyncio.to_thread(part.kill)

    async def restore(self, names: tuple[str, ...]) -> None:
        """Restores the power and starts everything on these machines at once."""
        for name in names:
            await asyncio.to_thread(self.mounts[name].restore)
            for part in PARTS:
                if self._machine_of(part) == name:
                    # In this thread, because the processes end with the thread that started them.
                    self.parts[part].start()

    async def started_again(self) -> str:
        """Waits until every part is ready. Returns an error, or "" if all is well."""
        for part in self.parts.values():
            try:
                await _ready(part)
            except TimeoutError:
                assert part.running is not None
                return f"{part.name} does not start: {part.running.log.read_text()[-600:]}"
            if part.name == "nats" and self._address() != self.server.url:
                return "nats-server has another address or password than before the cut"
        return ""

    # --- counts and logs ------------------------------------------------------------------------

    def counts(self) -> Counter[str]:
        """Returns what the disks did and lost."""
        return sum((mount.counts for mount in self.mounts.values()), Counter())

    def server_log(self) -> str:
        """Returns nats-server's own log. The other logs are on a disk that never loses power."""
        with contextlib.suppress(OSError):
            return (self._data("nats") / "nats" / "nats-server.log").read_text(errors="replace")
        return ""


async def _ready(part: Part) -> None:
    """Waits for a part, even if it is restarted meanwhile."""
    async with asyncio.timeout(START_S):
        while True:
            running: Running | None = part.running
            with contextlib.suppress(AssertionError):
                assert running is not None
                await running.ready()
                return
            await asyncio.sleep(0.05)


def process_tree(pid: int | None) -> list[int]:
    """Returns the process ids of all descendants, then the process itself."""
    if pid is None:
        return []
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += process_tree(int(child))
    return [*found, pid]


class _AnyLink(dict[str, _Direct]):
    def __missing__(self, _: str) -> _Direct:
        return _Direct()


_DIRECT: Final = _AnyLink()
