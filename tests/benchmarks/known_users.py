"""A million known users, of whom a thousand talk: memory, and the loading of conversations.

Their conversations are written into the store directly, because the streams keep only seven days.
The result is compared with a dataflow that knows only the thousand.
"""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from dataflow.snapshot import SNAPSHOT, Snapshot
from dataflow.store.sqlite import FILE, SqliteStore
from dataflow.store.store import START, Row, Write
from dataflow.turn import turn_of
from shared import user_names
from shared.partitioning import DEFAULT_PARTITIONS, partition_of
from tests.benchmarks.figures import Figure, Target, median_ms
from tests.benchmarks.load import people
from tests.benchmarks.memory_and_resume import CHARS, SETTLE_S
from tests.benchmarks.processes import flow_without_model, nats, pid_of, rss_mb, started
from tests.running import question

TALKING = 1_000
KNOWN = 1_000_000
A_TRANSACTION = 20_000
MEMORY_RATIO = 1.1
"""The memory of a process differs by a few percent from start to start."""


@dataclass(frozen=True)
class Found:
    """One dataflow while a thousand users talk, and after a kill."""

    memory_mb: float
    memory_after_mb: float
    file_mb: float
    first_answers_s: list[float]
    """Each user's first question: the conversation is loaded from the file."""
    second_answers_s: list[float]
    """Each user's second question: the conversation is in memory."""
    back_s: float


async def measure(home: Path) -> list[Figure]:
    """Measures many known users, compared with few."""
    few = await _talking(home / "few", TALKING)
    many = await _talking(home / "many", KNOWN)
    floor = f"{TALKING:,} known users"
    what = f"{KNOWN:,} known users, {TALKING:,} talk"
    target = Target("ratio", at_most=MEMORY_RATIO)
    return [
        Figure(f"{what}: memory", many.memory_mb, "MB", floor, few.memory_mb, target),
        Figure(
            f"{what}: memory after a restart", many.memory_after_mb, "MB",
            floor, few.memory_after_mb, target,
        ),
        Figure(
            f"{what}: first answer, loaded from the file, p50",
            median_ms(many.first_answers_s), "ms",
            "second answer, in memory", median_ms(many.second_answers_s),
        ),
        Figure(f"{what}: kill -9 to first answer", many.back_s, "s", floor, few.back_s),
        Figure(f"{what}: size of the file", many.file_mb, "MB", floor, few.file_mb),
    ]  # fmt: skip


async def _talking(home: Path, known: int) -> Found:
    await _store(home, known)
    file_mb = (home / FILE).stat().st_size / 2**20
    step = known // TALKING
    talking = [f"known{number * step}" for number in range(TALKING)]
    async with nats(home) as server, people(server.url) as them:
        flow = flow_without_model(home, server.url, chars=CHARS)
        async with started(flow) as first:
            await them.ask(question("warm", 0, "hello"))
            first_answers = [(await them.ask(question(n, 1, "q" * CHARS)))[0] for n in talking]
            second_answers = [(await them.ask(question(n, 2, "q" * CHARS)))[0] for n in talking]
            await asyncio.sleep(SETTLE_S)
            memory_mb = rss_mb(pid_of(first))
        waiting = asyncio.create_task(them.ask(question("warm", 1, "are you back?")))
        killed = time.monotonic()
        flow.log = home / "second.log"  # a log shows readiness, so each process needs its own
        async with started(flow) as second:
            await waiting
            back_s = time.monotonic() - killed
            await asyncio.sleep(SETTLE_S)
            memory_after_mb = rss_mb(pid_of(second))
    return Found(memory_mb, memory_after_mb, file_mb, first_answers, second_answers, back_s)


async def _store(home: Path, known: int) -> None:
    ask = question("known", 0, "q" * CHARS)
    turn = turn_of(ask, ask.place, ask.text, "a" * CHARS, 1)
    mark = "USER"
    snapshot = Snapshot(
        user=mark, pending=(), turns=(turn,), settled=(ask.id,), next_order=2, ratio=1.3
    )
    template = SNAPSHOT.dump_json(snapshot)
    store = SqliteStore(home / FILE)
    await store.open(DEFAULT_PARTITIONS)
    writer = "benchmark"
    claims = await store.claim(writer, dict.fromkeys(range(DEFAULT_PARTITIONS), 0))
    for begin in range(0, known, A_TRANSACTION):
        rows: dict[int, list[Row]] = {number: [] for number in claims}
        for number in range(begin, min(begin + A_TRANSACTION, known)):
            user = user_names.user_of("test", f"known{number}")
            saved = template.replace(mark.encode(), user.encode())
            rows[partition_of(user, DEFAULT_PARTITIONS)].append(Row(user, saved))
        writes = [Write(number, claims[number].epoch, writer, START, tuple(some), release=True)
                  for number, some in rows.items()]  # fmt: skip
        assert await store.write(writes) == set()
    await store.close()
