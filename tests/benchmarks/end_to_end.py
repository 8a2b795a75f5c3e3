"""From a user's message on a platform to the complete answer there, compared with a bare bot.

NATS, the dataflow and the adapter run as in production. The fake platform with its users and the
model run in their own processes. The bare bot is 20 lines with the same SDK and the openai client.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.figures import Figure, Target, median_ms, percentile
from tests.benchmarks.model_server import WORD
from tests.benchmarks.processes import Model, cpu_s, flow, model, nats, pid_of, rss_mb, started
from tests.running import ROOT, Running

PLATFORMS = ("slack", "discord")
KINDS = ("bare", "threadwax")
PIECES = 20
ANSWER = (WORD * PIECES).strip()

ROUNDS = 2
ONE_BY_ONE = 60
WARM_UP = 15
CROWD = 200
CROWD_MODEL_S = 2.0
BUSY = 50
BUSY_EACH = 20

Times = dict[str, tuple[float, float]]


@dataclass
class World:
    """A platform with its users, a bot and a model."""

    users: asyncio.subprocess.Process
    model: Model
    pids: dict[str, int]

    async def call(self, do: str, **arguments: Any) -> Any:
        """Sends a command to the users and returns its result."""
        assert self.users.stdin is not None
        assert self.users.stdout is not None
        self.users.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        line = await self.users.stdout.readline()
        assert line, f"the users' process ended during {do}"
        return json.loads(line)

    def used(self) -> dict[str, float]:
        """Returns the processor seconds of each process so far."""
        return {name: cpu_s(pid) for name, pid in self.pids.items()}


async def measure(home: Path) -> list[Figure]:
    """Measures each platform with a fast model, a slow one, and one that answers immediately."""
    figures = []
    for platform in PLATFORMS:
        figures += await _one_by_one(home / platform / "one", platform)
        figures += await _crowd(home / platform / "crowd", platform)
        figures += await _busy(home / platform / "busy", platform)
    return figures


async def _one_by_one(home: Path, platform: str) -> list[Figure]:
    to_model: dict[str, list[float]] = {kind: [] for kind in KINDS}
    added: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(ROUNDS):
        for kind in KINDS:
            folder = home / f"{kind}{number}"
            async with _world(folder, platform, kind, delay=0.05, pause=0.005) as world:
                await world.call("one_by_one", prefix="warm", count=WARM_UP)
                world.model.times()
                times: Times = await world.call("one_by_one", prefix="ask", count=ONE_BY_ONE)
                seen = world.model.times()
            for text, (asked, answered) in times.items():
                requested, _, last = seen[text]
                to_model[kind].append(requested - asked)
                added[kind].append(answered - asked - (last - requested))
    return [
        Figure(
            f"{platform}, event to model request, p50", median_ms(to_model["threadwax"]), "ms",
            "bare bot", median_ms(to_model["bare"]), Target("value", at_most=9),
        ),
        Figure(
            f"{platform}, end to end minus the model, p50", median_ms(added["threadwax"]), "ms",
            "bare bot", median_ms(added["bare"]), Target("value", at_most=22),
        ),
        Figure(
            f"{platform}, end to end minus the model, p95",
            percentile(added["threadwax"], 0.95) * 1e3, "ms",
            "bare bot", percentile(added["bare"], 0.95) * 1e3,
        ),
    ]  # fmt: skip


async def _crowd(home: Path, platform: str) -> list[Figure]:
    last = {}
    for kind in KINDS:
        async with _world(home / kind, platform, kind, delay=CROWD_MODEL_S) as world:
            await world.call("at_once", prefix="warm", users=3)
            times: Times = await world.call("at_once", prefix="crowd", users=CROWD)
            begin = min(asked for asked, _ in times.values())
            last[kind] = max(answered for _, answered in times.values()) - begin
    return [
        Figure(
            f"{platform}, {CROWD} at once, {CROWD_MODEL_S:g} s model, last answered",
            last["threadwax"], "s", "bare bot", last["bare"], Target("value", at_most=4),
        )
    ]  # fmt: skip


async def _busy(home: Path, platform: str) -> list[Figure]:
    rate: dict[str, float] = {}
    used: dict[str, dict[str, float]] = {}
    memory = {}
    for kind in KINDS:
        async with _world(home / kind, platform, kind) as world:
            await world.call("often", prefix="warm", users=10, each=2)
            before = world.used()
            times: Times = await world.call("often", prefix="busy", users=BUSY, each=BUSY_EACH)
            after = world.used()
            memory[kind] = rss_mb(world.pids["adapter"])
        begin = min(asked for asked, _ in times.values())
        rate[kind] = len(times) / (max(answered for _, answered in times.values()) - begin)
        used[kind] = {name: (after[name] - before[name]) / len(times) * 1000 for name in before}
    ours, bare = (
        {name: s for name, s in used[kind].items() if name not in ("platform", "model")}
        for kind in ("threadwax", "bare")
    )
    return [
        Figure(
            f"{platform}, messages per second", rate["threadwax"], "/s",
            "bare bot", rate["bare"], Target("value", at_least=150),
        ),
        Figure(
            f"{platform}, processor time of 1000 messages, all processes", sum(ours.values()), "s",
            "bare bot", sum(bare.values()), Target("value", at_most=10),
        ),
        *(
            Figure(f"{platform}, processor time of 1000 messages, {name}", seconds, "s")
            for name, seconds in used["threadwax"].items()
        ),
        Figure(
            f"{platform}, memory of the adapter afterwards", memory["threadwax"], "MB",
            "bare bot", memory["bare"],
        ),
    ]  # fmt: skip


@contextlib.asynccontextmanager
async def _world(home: Path, platform: str, kind: str, **options: float) -> AsyncIterator[World]:
    home.mkdir(parents=True)
    async with AsyncExitStack() as stack:
        server = stack.enter_context(model(pieces=PIECES, **options))
        users = await stack.enter_async_context(_users(platform))
        assert users.stdout is not None
        env = json.loads(await users.stdout.readline())
        pids = {"platform": users.pid, "model": server.pid}
        if kind == "bare":
            bot = Running(
                "-c",
                "import runpy; runpy.run_module("
                f"'tests.benchmarks.bare_{platform}_bot', run_name='__main__')",
                log=home / "bare.log",
                env={**env, "OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "k"},
            )
            stack.callback(bot.kill)
            bot.start()
        else:
            bus_server = await stack.enter_async_context(nats(home))
            running = flow(home, bus_server.url, server.url)
            await stack.enter_async_context(started(running))
            bot = Running(
                platform, log=home / "adapter.log",
                env={**env, "NATS_URL": bus_server.url, "THREADWAX_HOME": str(home)},
            )  # fmt: skip
            await stack.enter_async_context(started(bot))
            pids |= {"dataflow": pid_of(running), "nats-server": bus_server.pid or 0}
        world = World(users, server, pids | {"adapter": pid_of(bot)})
        await world.call("until_connected")
        yield world


@contextlib.asynccontextmanager
async def _users(platform: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"tests.benchmarks.{platform}_users", ANSWER,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, limit=1 << 24,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        await process.wait()
