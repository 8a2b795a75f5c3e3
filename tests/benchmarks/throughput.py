"""Answers and words per second of one process, with a model that answers immediately."""

import asyncio
import time
from pathlib import Path

from tests.benchmarks.figures import Figure, Target, percentile
from tests.benchmarks.load import again_and_again, people
from tests.benchmarks.processes import cpu_s, flow, model, nats, output_of, pid_of, started
from tests.running import question

USERS = 200
PIECES = 5
SECONDS = 10.0
WARM_UP_S = 3.0

BARE_USERS = 20
"""The bare client is fastest with few users: it searches all its connections for each call."""

ROUNDS = 100

READERS = 40
WORDS = 500
PAUSE_S = 0.01

CLIENT = "bare openai client"


async def measure(home: Path) -> list[Figure]:
    """Measures short answers in a closed loop, then 40 long answers at the same time."""
    return await _answers(home / "answers") + await _words(home / "words")


async def _answers(home: Path) -> list[Figure]:
    with model(pieces=PIECES) as server:
        bare = await output_of("bare_client", "openai", server.url, BARE_USERS, ROUNDS)
        raw = await output_of("bare_client", "socket", server.url, USERS, ROUNDS)
        async with nats(home) as bus_server:
            running = flow(home / "flow", bus_server.url, server.url)
            async with started(running), people(bus_server.url) as them:
                pids = {"flow": pid_of(running), "model": server.pid, "nats": bus_server.pid or 0}
                used = {name: cpu_s(pid) for name, pid in pids.items()}
                busy = await again_and_again(them, "busy", USERS, SECONDS, warm_up_s=WARM_UP_S)
                used = {name: cpu_s(pid) - used[name] for name, pid in pids.items()}
    calls, raw_calls = BARE_USERS * ROUNDS, USERS * ROUNDS
    an_answer_s = used["flow"] / busy.all
    return [
        Figure(
            "answers per second, streamed, one process, everything on two cores", busy.rate, "/s",
            CLIENT, calls / bare["seconds"], Target("value", at_least=600),
        ),
        Figure("answer time with 200 users, p50", percentile(busy.took, 0.5), "s"),
        Figure(
            "processor time of the dataflow per answer", an_answer_s * 1e3, "ms",
            CLIENT, bare["cpu_s"] / calls * 1e3,
        ),
        Figure("answers per second implied for a dedicated core", 1 / an_answer_s, "/s"),
        Figure("processor time of nats-server per answer", used["nats"] / busy.all * 1e3, "ms"),
        Figure(
            "processor time of the model server per answer", used["model"] / busy.all * 1e3, "ms",
        ),
        Figure("answers per second of the model server alone", raw_calls / raw["seconds"], "/s"),
    ]  # fmt: skip


async def _words(home: Path) -> list[Figure]:
    with model(pieces=WORDS, pause=PAUSE_S) as server:
        bare = await output_of("bare_client", "openai", server.url, READERS, 1)
        async with nats(home) as bus_server:
            running = flow(home / "flow", bus_server.url, server.url)
            async with started(running), people(bus_server.url, partials=True) as them:
                await them.ask(question("warm", 0, "hello"))
                used, began = cpu_s(pid_of(running)), time.monotonic()
                await asyncio.gather(
                    *(them.ask(question(f"reader{n}", 0, f"tell {n}")) for n in range(READERS))
                )
                took = time.monotonic() - began
                used = cpu_s(pid_of(running)) - used
    words = READERS * WORDS
    return [
        Figure(
            f"words per second, {READERS} answers of {WORDS} words", words / took, "/s",
            CLIENT, words / bare["seconds"],
        ),
        Figure(
            "processor time of the dataflow per word", used / words * 1e3, "ms",
            CLIENT, bare["cpu_s"] / words * 1e3,
        ),
        Figure("words per second implied for a dedicated core", words / used, "/s"),
    ]  # fmt: skip
