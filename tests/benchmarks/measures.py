"""What is measured, each with its floor side by side in the same run."""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
from nats.aio.msg import Msg

from shared.bus import Bus
from shared.messages import Ask, Partial
from tests.running import ROOT, Running, dataflow, question

Figures = dict[str, Any]

TURNS = 20
"""Questions of one user in a row, as people's conversations have."""


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of the values lie."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def spread_ms(seconds: list[float]) -> Figures:
    return {
        "p50_ms": round(statistics.median(seconds) * 1e3, 2),
        "p95_ms": round(percentile(seconds, 0.95) * 1e3, 2),
        "p99_ms": round(percentile(seconds, 0.99) * 1e3, 2),
        "n": len(seconds),
    }


def cpu_s(pid: int) -> float:
    """Processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


class Watcher:
    """Sees replies and partials as they pass on the bus."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self._waiting: dict[str, asyncio.Future[float]] = {}
        self._first: dict[str, float] = {}

    async def start(self) -> "Watcher":
        async def reply(message: Msg) -> None:
            future = self._waiting.pop(message.subject.rsplit(".", 1)[1], None)
            if future is not None and not future.done():
                future.set_result(time.perf_counter())

        async def partial(message: Msg) -> None:
            now = time.perf_counter()
            self._first.setdefault(Partial.model_validate_json(message.data).prompt_id, now)

        await self.bus.watch("replies.>", reply)
        await self.bus.watch("partials.>", partial)
        return self

    async def ask(self, ask: Ask) -> tuple[float, float | None]:
        """Seconds to the reply, and to the first partial."""
        future = self._waiting[ask.id] = asyncio.get_running_loop().create_future()
        started = time.perf_counter()
        await self.bus.publish(ask)
        done = await future
        first = self._first.pop(ask.id, None)
        return done - started, None if first is None else first - started


def floor(home: Path, nats_url: str, model_url: str) -> Running:
    home.mkdir(parents=True, exist_ok=True)
    code = (
        "import asyncio; from tests.benchmarks.floor import main; "
        f"asyncio.run(main({nats_url!r}, {model_url!r}))"
    )
    return Running("-c", code, log=home / "floor.log", env={})


def model_process(*options: str) -> tuple[subprocess.Popen[str], str]:
    """The fake model as a process of its own, and its base URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.model", *options],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


async def in_turns(
    count: int, kinds: dict[str, Callable[[str, int], Awaitable[float]]]
) -> dict[str, list[float]]:
    """Runs each kind in turn, so that noise of the machine falls on all alike."""
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(count):
        for kind, once in kinds.items():
            found[kind].append(await once(kind, number))
    return found


async def idle_way(watcher: Watcher, prefix: str, count: int = 400) -> list[float]:
    """Prompt to reply, one at a time, in conversations of up to `TURNS` turns."""
    for number in range(30):
        await watcher.ask(question(f"{prefix}warm", number, "hello"))
    return [
        (await watcher.ask(question(f"{prefix}{number // TURNS}", number, "hello")))[0]
        for number in range(count)
    ]


async def idle(server: Any, home: Path, model_url: str) -> Figures:
    """The way from prompt to reply at idle: the flow and the floor, alternating in rounds."""
    figures: Figures = {}
    for case, url in (("without a model", ""), ("with the fake model over HTTP", model_url)):
        found: dict[str, list[float]] = {"flow": [], "floor": []}
        for turn in range(3):
            for kind in found:
                folder = home / f"{case.split()[0]}-{kind}-{turn}"
                if kind == "floor":
                    process = floor(folder, server.url, url)
                elif url:
                    process = dataflow(folder, server.url, url)
                else:
                    process = dataflow(
                        folder, server.url, "http://127.0.0.1:1/v1", "-c",
                        "import runpy; runpy.run_module('tests.benchmarks.flow_without_model', "
                        "run_name='__main__')",
                    )  # fmt: skip
                await purge(server)
                process.start()
                await process.ready()
                bus = await Bus.connect(server.url, name="bench")
                watcher = await Watcher(bus).start()
                prefix = f"{case.split()[0]}{kind}{turn}"
                found[kind] += await idle_way(watcher, prefix)
                await bus.close()
                process.kill()
        ratio = statistics.median(found["flow"]) / statistics.median(found["floor"])
        figures[case] = {
            "flow": spread_ms(found["flow"]),
            "floor": spread_ms(found["floor"]),
            "ratio_p50": round(ratio, 2),
        }
    return figures


async def purge(server: Any) -> None:
    """Empties the streams, so that each process starts from the same."""
    bus = await Bus.connect(server.url, name="bench")
    await bus.js.purge_stream("PROMPTS")
    await bus.js.purge_stream("REPLIES")
    await bus.close()


async def crowd(server: Any, home: Path, *, users: int, delay_s: float) -> Figures:
    """All users ask at once, with a model that takes its time."""
    model, url = model_process("--delay", str(delay_s))
    await purge(server)
    flow = dataflow(home, server.url, url).start()
    await flow.ready()
    bus = await Bus.connect(server.url, name="bench")
    watcher = await Watcher(bus).start()
    await watcher.ask(question("crowdwarm", 0, "hello"))
    assert flow.process is not None
    cpu = cpu_s(flow.process.pid)
    started = time.perf_counter()
    results = await asyncio.gather(
        *(watcher.ask(question(f"crowd{n}", 0, "hello")) for n in range(users))
    )
    took = time.perf_counter() - started
    used = cpu_s(flow.process.pid) - cpu
    await bus.close()
    flow.kill()
    model.kill()
    model.wait()
    return {
        "users": users,
        "model_s": delay_s,
        "last_answered_s": round(took, 2),
        "ratio_to_ideal": round(took / delay_s, 2),
        "cpu_s_of_the_flow": round(used, 2),
        **spread_ms([seconds for seconds, _ in results]),
    }


async def first_token(server: Any, home: Path, *, count: int = 200) -> Figures:
    """First text through the whole system, against the same client called directly."""
    model, url = model_process("--pieces", "20", "--pause", "0.002", "--delay", "0.02")
    await purge(server)
    flow = dataflow(home, server.url, url).start()
    await flow.ready()
    bus = await Bus.connect(server.url, name="bench")
    watcher = await Watcher(bus).start()
    client = openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0)

    async def through(kind: str, number: int) -> float:
        _, first = await watcher.ask(question(kind, number, "hello"))
        assert first is not None
        return first

    async def directly(_: str, __: int) -> float:
        started = time.perf_counter()
        first = 0.0
        stream = await client.chat.completions.create(
            model="fake", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        async for chunk in stream:
            if not first and chunk.choices and chunk.choices[0].delta.content:
                first = time.perf_counter() - started
        return first

    warm_up = 20
    found = await in_turns(warm_up + count, {"direct": directly, "threadwax": through})
    found = {kind: seconds[warm_up:] for kind, seconds in found.items()}
    await client.close()
    await bus.close()
    flow.kill()
    model.kill()
    model.wait()
    added = {
        share: round((percentile(found["threadwax"], q) - percentile(found["direct"], q)) * 1e3, 2)
        for share, q in (("added_p50_ms", 0.5), ("added_p95_ms", 0.95))
    }
    return {
        "threadwax": spread_ms(found["threadwax"]),
        "direct": spread_ms(found["direct"]),
        **added,
    }


async def idle_cpu(server: Any, home: Path, *, seconds: float = 10.0) -> Figures:
    """Processor share of a flow that has nothing to do."""
    await purge(server)
    flow = dataflow(home, server.url, "http://127.0.0.1:1/v1").start()
    await flow.ready()
    await asyncio.sleep(2)
    assert flow.process is not None
    before = cpu_s(flow.process.pid)
    await asyncio.sleep(seconds)
    share = (cpu_s(flow.process.pid) - before) / seconds
    flow.kill()
    return {"percent_of_one_core": round(share * 100, 1), "seconds": seconds}
