"""Users in memory who are quiet: the memory they take, and the time of a restart with them.

Each user has one question and one answer, 3 KB together. All are in memory, because they have just
talked. The dataflow is killed with SIGKILL, and a question is waiting when it restarts.
"""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from dataflow.store.sqlite import FILE
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.load import People, people
from tests.benchmarks.processes import flow_without_model, nats, pid_of, rss_mb, started
from tests.running import Running, question

AWAKE = (1_000, 10_000, 100_000)
CHARS = 1_500
AT_ONCE = 400
SETTLE_S = 3.0
"""A few seconds, so that everything is stored."""

BACK_WITHIN_S = 3.0
JUDGED_USERS = 10_000


@dataclass(frozen=True)
class Known:
    """One dataflow with this many known users, before and after a restart."""

    filled_a_s: float
    memory_mb: float
    memory_after_mb: float
    store_mb: float
    ready_s: float
    back_s: float
    next_ms: float
    """Prompt to reply for a known user right after the restart."""


async def measure(home: Path) -> list[Figure]:
    """Measures each number of users, compared with a dataflow that knows nobody."""
    nobody = await _known(home / "nobody", 1)
    figures = [
        Figure("no known user, kill -9 to first answer", nobody.back_s, "s"),
        Figure("no known user, memory", nobody.memory_mb, "MB"),
    ]
    for count in AWAKE:
        found = await _known(home / f"awake{count}", count)
        target = Target("value", at_most=BACK_WITHIN_S) if count == JUDGED_USERS else None
        figures += _figures(f"{count:,} users in memory", found, nobody, back=target)
    return figures


def _figures(what: str, found: Known, nobody: Known, *, back: Target | None) -> list[Figure]:
    return [
        Figure(
            f"{what}, kill -9 to first answer", found.back_s, "s",
            "no known user", nobody.back_s, back,
        ),
        Figure(f"{what}, memory", found.memory_mb, "MB", "no known user", nobody.memory_mb),
        Figure(
            f"{what}, memory after a restart", found.memory_after_mb, "MB",
            "no known user", nobody.memory_after_mb,
        ),
        Figure(f"{what}, on disk", found.store_mb, "MB"),
        Figure(f"{what}, start to ready", found.ready_s, "s", "no known user", nobody.ready_s),
        Figure(
            f"{what}, a known user's prompt after a restart", found.next_ms, "ms",
            "no known user", nobody.next_ms,
        ),
        Figure(f"{what}, introduced per second", found.filled_a_s, "/s"),
    ]  # fmt: skip


async def _known(home: Path, users: int) -> Known:
    async with nats(home) as server, people(server.url) as them:
        async with started(_flow(home, server.url, "first")) as first:
            await them.ask(question("first", 0, "hello"))
            began = time.monotonic()
            await _introduce(them, users)
            filled_s = time.monotonic() - began
            await asyncio.sleep(SETTLE_S)
            memory_mb = rss_mb(pid_of(first))
        folder = (home / FILE).parent
        store_mb = sum(file.stat().st_size for file in folder.glob(f"{FILE.name}*")) / 2**20
        waiting = asyncio.create_task(them.ask(question("first", 1, "are you back?")))
        killed = time.monotonic()
        async with started(_flow(home, server.url, "second")) as second:
            ready_s = time.monotonic() - killed
            await waiting
            back_s = time.monotonic() - killed
            next_s, _ = await them.ask(question("known0", 1, "do you know me?"))
            await asyncio.sleep(SETTLE_S)
            memory_after_mb = rss_mb(pid_of(second))
    return Known(
        users / filled_s, memory_mb, memory_after_mb, store_mb, ready_s, back_s, next_s * 1e3
    )


def _flow(home: Path, nats_url: str, log: str) -> Running:
    running = flow_without_model(home, nats_url, chars=CHARS)
    running.log = home / f"{log}.log"  # a log shows readiness, so each process needs its own
    return running


async def _introduce(them: People, users: int) -> None:
    """Lets each user ask one question, a limited number at the same time."""
    numbers = iter(range(users))

    async def some() -> None:
        for number in numbers:
            await them.ask(question(f"known{number}", 0, "q" * CHARS))

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
