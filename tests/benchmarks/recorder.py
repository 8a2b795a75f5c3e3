"""Processor time of the recorder per turn, against that of the dataflow in the same run.

A turn is a question, its answer, and the receipt of its being shown.
"""

import asyncio
from pathlib import Path

from shared.receipts import Receipts
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.load import People, people
from tests.benchmarks.processes import cpu_s, flow, model, nats, pid_of, rss_mb, started
from tests.recorded import opened, until_recorded
from tests.running import Running, question

USERS = 50
TURNS = 40
WARM_UP_TURNS = 4
IDLE_S = 10.0

RATIO_AT_MOST = 0.25
"""0.3 ms on a machine where an answer takes the dataflow 1.2 ms."""


async def measure(home: Path) -> list[Figure]:
    """Measures both while `USERS` people ask `TURNS` questions each, then when nobody asks."""
    database = f"sqlite:///{home / 'recorded.sqlite'}"
    with model(pieces=5) as server:
        async with nats(home) as bus_server:
            answering = flow(home / "flow", bus_server.url, server.url)
            recording = Running(
                "recorder", log=home / "recorder.log",
                env={
                    "NATS_URL": bus_server.url, "THREADWAX_HOME": str(home / "recorder"),
                    "DATABASE_URL": database,
                },
            )  # fmt: skip
            async with (
                started(answering),
                started(recording),
                people(bus_server.url) as them,
            ):
                receipts = Receipts(them.bus, "test")
                await _ask(them, receipts, "warm", WARM_UP_TURNS)
                await _until(database, WARM_UP_TURNS * USERS)
                pids = {"flow": pid_of(answering), "recorder": pid_of(recording)}
                used = {name: cpu_s(pid) for name, pid in pids.items()}
                await _ask(them, receipts, "busy", TURNS)
                await _until(database, (WARM_UP_TURNS + TURNS) * USERS)
                used = {name: cpu_s(pid) - used[name] for name, pid in pids.items()}
                before = cpu_s(pids["recorder"])
                await asyncio.sleep(IDLE_S)
                idle = (cpu_s(pids["recorder"]) - before) / IDLE_S
                memory = rss_mb(pids["recorder"])
    turns = USERS * TURNS
    return [
        Figure(
            "processor time of the recorder per turn", used["recorder"] / turns * 1e3, "ms",
            "dataflow", used["flow"] / turns * 1e3, Target("ratio", at_most=RATIO_AT_MOST),
        ),
        Figure(
            "processor when idle, recorder", idle * 100, "%", target=Target("value", at_most=2.0)
        ),
        Figure("memory of the recorder", memory, "MB"),
    ]  # fmt: skip


async def _ask(them: People, receipts: Receipts, name: str, turns: int) -> None:
    async def person(number: int) -> None:
        for turn in range(turns):
            asked = question(f"{name}{number}", turn, "hello")
            await them.ask(asked)
            await receipts.claim(f"{asked.id}.0")
            await receipts.record(f"{asked.id}.0", "message-1", finished=True)

    await asyncio.gather(*(person(number) for number in range(USERS)))


async def _until(database: str, turns: int) -> None:
    engine = opened(database)
    await until_recorded(
        engine,
        lambda rows: sum(row["shown_at"] is not None for row in rows["answers"]) == turns,
        within_s=120,
    )
    engine.dispose()
