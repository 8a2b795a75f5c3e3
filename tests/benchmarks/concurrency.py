"""Many users ask at the same moment, and then continuously, with a model that takes 1 s.

The figures are compared with the ideal, the floor of the model server, the bare openai client, and
the tutorial's design, which calls the model inside the dataflow's step and so answers one question
after another.
"""

import asyncio
import json
import tempfile
import time
from pathlib import Path

import nats as nats_client

from tests.benchmarks.figures import Figure, Target, percentile
from tests.benchmarks.load import People, again_and_again, all_at_once, people
from tests.benchmarks.processes import (
    Model,
    cpu_s,
    floor,
    flow,
    flow_without_model,
    model,
    module,
    nats,
    output_of,
    pid_of,
    rss_mb,
    started,
)

MODEL_S = 1.0
USERS = (1, 10, 100, 1000, 5000)
TUTORIAL_USERS = (1, 10, 20)
BARE_CLIENT_USERS = 1000
"""The bare client searches its whole pool for each call, so 5000 users would take minutes."""

LOOP_S = 8.0
WARM_UP_S = 2.5
IN_FLIGHT = (1000, 5000)
IN_FLIGHT_SHARE = 0.85
MEMORY = Path("/dev/shm")  # noqa: S108  (a sync is free there)


async def measure(home: Path) -> list[Figure]:
    """Measures users at the same moment with the real client, then users in flight without it."""
    figures = []
    with model(delay=MODEL_S) as server:
        figures += await _tutorial(home / "tutorial", server)
        async with nats(home) as bus_server:
            running = flow(home / "flow", bus_server.url, server.url)
            async with started(running), people(bus_server.url) as them:
                await all_at_once(them, "warm", 10)
                for users in USERS:
                    figures += await _at_once(users, server, them, pid_of(running))
                figures.append(
                    Figure("memory after 5000 users at once", rss_mb(pid_of(running)), "MB")
                )
    for users in IN_FLIGHT:
        figures += await _in_flight(home / "loop", users)
    return figures + await _in_flight_without_disk(max(IN_FLIGHT))


async def _at_once(users: int, server: Model, them: People, pid: int) -> list[Figure]:
    alone = (await output_of("bare_client", "socket", server.url, users, 1))["seconds"]
    used, began = cpu_s(pid), time.monotonic()
    took = await all_at_once(them, f"at{users}", users)
    last_s = time.monotonic() - began
    used = cpu_s(pid) - used
    figures = [
        Figure(
            f"{users} at once, 1 s model, last answered", last_s, "s",
            "model server alone", alone,
        ),
        Figure(f"{users} at once, 1 s model, p50", percentile(took, 0.5), "s", "ideal", MODEL_S),
        Figure(
            f"{users} at once, processor time of the dataflow per question",
            used / users * 1e3, "ms",
        ),
    ]  # fmt: skip
    if users <= BARE_CLIENT_USERS:
        bare = await output_of("bare_client", "openai", server.url, users, 1)
        figures += [
            Figure(
                f"{users} at once, 1 s model, last answered, compared with a bare client",
                last_s, "s",
                "bare openai client", bare["seconds"],
            )
        ]  # fmt: skip
    return figures


async def _tutorial(home: Path, server: Model) -> list[Figure]:
    """Measures the tutorial's design, whose time grows linearly with the number of users."""
    figures = []
    async with (
        nats(home) as bus_server,
        started(module("tutorial", bus_server.url, server.url, home=home)),
    ):
        client = await nats_client.connect(bus_server.url)
        for users in TUTORIAL_USERS:
            began = time.monotonic()
            await asyncio.gather(
                *(
                    client.request(
                        "prompts",
                        json.dumps({"user_id": f"u{users}-{n}", "prompt": "hello"}).encode(),
                        timeout=10 + 2 * users * MODEL_S,
                    )
                    for n in range(users)
                )
            )
            figures.append(
                Figure(
                    f"the tutorial's design, {users} at once, last answered",
                    time.monotonic() - began, "s", "ideal", MODEL_S,
                )
            )  # fmt: skip
        await client.close()
    return figures


async def _in_flight(home: Path, users: int, where: str = "") -> list[Figure]:
    """Each user asks again after every answer. The model call only waits, inside the process."""
    rates = {}
    used_ms = {}
    for kind in ("flow", "floor"):
        folder = home / f"{kind}{users}"
        async with nats(folder) as bus_server:
            process = (
                flow_without_model(folder, bus_server.url, delay_s=MODEL_S)
                if kind == "flow"
                else floor(folder, bus_server.url, delay_s=MODEL_S)
            )
            async with started(process), people(bus_server.url) as them:
                before = cpu_s(pid_of(process))
                busy = await again_and_again(them, kind, users, LOOP_S, warm_up_s=WARM_UP_S)
                used = cpu_s(pid_of(process)) - before
                rates[kind] = busy.rate
                used_ms[kind] = used / max(busy.all, 1) * 1e3
    what = f"{users} in flight{where}, model that only waits"
    floor_name = "plain asyncio on the same streams"
    target = None if where else Target("ratio", at_least=IN_FLIGHT_SHARE)
    return [
        Figure(
            f"{what}, answers per second", rates["flow"], "/s", "ideal", users / MODEL_S, target
        ),
        Figure(
            f"{what}, compared with plain asyncio", rates["flow"], "/s", floor_name, rates["floor"]
        ),
        Figure(
            f"{what}, processor time per answer", used_ms["flow"], "ms",
            floor_name, used_ms["floor"],
        ),
    ]  # fmt: skip


async def _in_flight_without_disk(users: int) -> list[Figure]:
    """Repeats the measurement with all files in memory: the difference is the disk."""
    if not MEMORY.is_dir():
        return []
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="threadwax-bench-") as folder:
        return await _in_flight(Path(folder), users, ", all files in memory")
