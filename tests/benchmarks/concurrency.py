"""Many users in the same moment, and then for a while, with a model that takes 1 s.

Beside the ideal stand the model server's own floor, the bare openai client and the tutorial's
design, which calls the model inside the dataflow's step and so answers one after the other.
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
"""One plain client's pool is looked through for each call: 5000 would take minutes."""

LOOP_S = 8.0
WARM_UP_S = 2.5
IN_FLIGHT = (1000, 5000)
IN_FLIGHT_SHARE = 0.85
MEMORY = Path("/dev/shm")  # noqa: S108  (a sync costs nothing there)


async def measure(home: Path) -> list[Figure]:
    """At once through the real client; then in flight for a while, without the client."""
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
        Figure(f"{users} at once, processor of the flow a question", used / users * 1e3, "ms"),
    ]  # fmt: skip
    if users <= BARE_CLIENT_USERS:
        bare = await output_of("bare_client", "openai", server.url, users, 1)
        figures += [
            Figure(
                f"{users} at once, 1 s model, last answered, beside a bare client", last_s, "s",
                "bare openai client", bare["seconds"],
            )
        ]  # fmt: skip
    return figures


async def _tutorial(home: Path, server: Model) -> list[Figure]:
    """Its law is linear: users times the model's time."""
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
    """Each asks anew as soon as answered; the model call only waits, in the process itself."""
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
    named = f"{users} in flight{where}, waiting model"
    beside = "plain asyncio on the same streams"
    target = None if where else Target("ratio", at_least=IN_FLIGHT_SHARE)
    return [
        Figure(f"{named}, answers a second", rates["flow"], "/s", "ideal", users / MODEL_S, target),
        Figure(f"{named}, beside plain asyncio", rates["flow"], "/s", beside, rates["floor"]),
        Figure(f"{named}, processor an answer", used_ms["flow"], "ms", beside, used_ms["floor"]),
    ]


async def _in_flight_without_disk(users: int) -> list[Figure]:
    """The same where a sync costs nothing: what the disk takes, and what is left to gain."""
    if not MEMORY.is_dir():
        return []
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="threadwax-bench-") as folder:
        return await _in_flight(Path(folder), users, ", all files in memory")
