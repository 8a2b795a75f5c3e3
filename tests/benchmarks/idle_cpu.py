"""Processor time and memory of the processes when nobody asks anything."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.processes import (
    NO_MODEL,
    cpu_s,
    flow,
    nats,
    pid_of,
    platforms,
    rss_mb,
    started,
)
from tests.running import Running

SETTLE_S = 3.0
SECONDS = 20.0


async def measure(home: Path) -> list[Figure]:
    """Measures the dataflow, the gateway, both adapters and nats-server together."""
    async with AsyncExitStack() as stack:
        slack, discord = await stack.enter_async_context(platforms())
        server = await stack.enter_async_context(nats(home))
        settings = {"gateway": {}, "slack": slack.env, "discord": discord.env}
        processes = {"dataflow": flow(home, server.url, NO_MODEL)} | {
            name: Running(
                name, log=home / f"{name}.log",
                env={"NATS_URL": server.url, "THREADWAX_HOME": str(home / name), **env},
            )
            for name, env in settings.items()
        }  # fmt: skip
        for process in processes.values():
            await stack.enter_async_context(started(process))
        pids = {name: pid_of(process) for name, process in processes.items()}
        assert server.pid is not None
        pids["nats-server"] = server.pid
        await asyncio.sleep(SETTLE_S)
        before = {name: cpu_s(pid) for name, pid in pids.items()}
        await asyncio.sleep(SECONDS)
        return [
            figure
            for name, pid in pids.items()
            for figure in (
                Figure(
                    f"processor when idle, {name}",
                    (cpu_s(pid) - before[name]) / SECONDS * 100, "%",
                    target=Target("value", at_most=2.0),
                ),
                Figure(f"memory after start, {name}", rss_mb(pid), "MB"),
            )
        ]  # fmt: skip
