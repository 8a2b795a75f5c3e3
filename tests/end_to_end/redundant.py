"""Two processes of one adapter, of which one has a fault, for the tests `test_redundant_*`.

Each has a data folder of its own, as on two machines.
"""

import asyncio
import itertools
import os
import re
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp

from shared.bus import Bus
from tests.running import Running

FAULTS = ("kill", "freeze", "stop")
CASES = tuple(itertools.product(FAULTS, (0, 1)))
if not os.environ.get("ALL_CASES"):
    CASES = (("kill", 0), ("freeze", 1), ("stop", 0))
"""Which of two equal processes has which fault; `ALL_CASES=1` takes each in turn."""

FROZEN_S = 8.0
"""Longer than it takes the others to take over what was in progress."""


_STATUS = re.compile(r"status at (http://[^\s\"]+)")


class Pair:
    """Two processes, of which one at a time has a fault."""

    def __init__(self, first: Running, second: Running) -> None:
        self.both = [first, second]

    async def start(self) -> None:
        for one in self.both:
            one.start()
        for one in self.both:
            await one.ready()

    async def hit(self, one: Running, fault: str) -> None:
        match fault:
            case "kill":
                one.kill()
            case "freeze":
                one.signal(signal.SIGSTOP)
            case "stop":
                assert await one.stop() == 0

    async def heal(self, one: Running, fault: str) -> None:
        if fault == "freeze":
            one.signal(signal.SIGCONT)
            return
        one.log.write_text("")
        await one.start().ready()

    def kill(self) -> None:
        for one in self.both:
            if one.process is not None and one.process.poll() is None:
                one.signal(signal.SIGCONT)
            one.kill()


@dataclass
class Waits:
    """How long each question waits for its answer."""

    asked_at: dict[str, float] = field(default_factory=dict)
    took_s: dict[str, float] = field(default_factory=dict)

    def ask(self, text: str) -> None:
        self.asked_at[text] = time.monotonic()

    def see(self, texts: set[str]) -> None:
        for text in texts & (self.asked_at.keys() - self.took_s.keys()):
            self.took_s[text] = time.monotonic() - self.asked_at[text]

    def report(self, case: str) -> None:
        longest = max(self.took_s.values())
        print(f"{case}: {len(self.took_s)} questions, longest wait {longest:.1f} s")  # noqa: T201


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


async def stored(bus: Bus, stream: str) -> list[bytes]:
    """The messages of a stream, in order."""
    state = (await bus.js.stream_info(stream)).state
    found = [await bus.js.get_msg(stream, n) for n in range(state.first_seq, state.last_seq + 1)]
    return [message.data or b"" for message in found]


async def readiness(adapter: Running) -> tuple[int, str]:
    url = _STATUS.findall(adapter.log.read_text())[-1]
    async with aiohttp.ClientSession() as session, session.get(f"{url}/readyz") as response:
        return response.status, (await response.text()).strip()
