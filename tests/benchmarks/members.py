"""Two dataflow processes that share the users, compared with one on the same machine."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.load import again_and_again, people
from tests.benchmarks.processes import NO_MODEL, cpu_s, flow, model, nats, pid_of, started

USERS = 200
PIECES = 5
SECONDS = 10.0
WARM_UP_S = 3.0
SHARED_S = 2.0
"""After this, both have their share."""

IDLE_S = 20.0


@dataclass(frozen=True)
class Load:
    """What so many processes did."""

    rate: float
    cpu_s: float
    """Of all processes, for one answer."""


async def measure(home: Path) -> list[Figure]:
    """Measures one process, then two on one data folder, with the same load and idle."""
    one, two = await _answers(home / "one", 1), await _answers(home / "two", 2)
    idle = await _idle(home / "idle")
    return [
        Figure("answers per second, two processes", two.rate, "/s", "one process", one.rate),
        Figure(
            "processor time of both per answer", two.cpu_s * 1e3, "ms",
            "one process", one.cpu_s * 1e3, Target("ratio", at_most=1.1),
        ),
        *(
            Figure(f"processor when idle, one of two processes ({number})", used, "%",
                   target=Target("value", at_most=2.0))
            for number, used in enumerate(idle, 1)
        ),
    ]  # fmt: skip


async def _answers(home: Path, count: int) -> Load:
    with model(pieces=PIECES) as server:
        async with nats(home) as bus_server, AsyncExitStack() as stack:
            members = [flow(home / "flow", bus_server.url, server.url) for _ in range(count)]
            for number, member in enumerate(members):
                member.log = home / f"flow{number}.log"
                await stack.enter_async_context(started(member))
            them = await stack.enter_async_context(people(bus_server.url))
            await asyncio.sleep(SHARED_S)
            pids = [pid_of(member) for member in members]
            before = sum(map(cpu_s, pids))
            busy = await again_and_again(them, "busy", USERS, SECONDS, warm_up_s=WARM_UP_S)
            return Load(busy.rate, (sum(map(cpu_s, pids)) - before) / busy.all)


async def _idle(home: Path) -> list[float]:
    async with nats(home) as bus_server, AsyncExitStack() as stack:
        members = [flow(home / "flow", bus_server.url, NO_MODEL) for _ in range(2)]
        for number, member in enumerate(members):
            member.log = home / f"flow{number}.log"
            await stack.enter_async_context(started(member))
        await asyncio.sleep(SHARED_S)
        pids = [pid_of(member) for member in members]
        before = [cpu_s(pid) for pid in pids]
        await asyncio.sleep(IDLE_S)
        return [(cpu_s(pid) - used) / IDLE_S * 100 for pid, used in zip(pids, before, strict=True)]
