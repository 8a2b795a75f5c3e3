"""Known users who say nothing now: the memory they take, and how long a restart takes with them.

Each has one question and one answer, 3 KB together. The flow is killed with SIGKILL; a question is
waiting when it is started again.
"""

import asyncio
import time
from pathlib import Path

from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.load import People, people
from tests.benchmarks.processes import flow_without_model, nats, pid_of, rss_mb, started
from tests.running import question

USERS = (1_000, 10_000, 100_000)
CHARS = 1_500
AT_ONCE = 400
SETTLE_S = 3.0
"""A few epochs, so that all is in the recovery store."""

BACK_WITHIN_S = 3.0
JUDGED_USERS = 10_000


async def measure(home: Path, users: tuple[int, ...] = USERS) -> list[Figure]:
    """Beside a flow that knows nobody."""
    _, nobody_mb, nobody_s = await _known(home / "0", 0)
    figures = [
        Figure("0 known users, kill -9 to first answer", nobody_s, "s"),
        Figure("0 known users, memory", nobody_mb, "MB"),
    ]
    for count in users:
        more, rss, back_s = await _known(home / str(count), count)
        target = Target("value", at_most=BACK_WITHIN_S) if count == JUDGED_USERS else None
        figures += [
            Figure(
                f"{count:,} known users, kill -9 to first answer", back_s, "s",
                "no known user", nobody_s, target,
            ),
            Figure(f"{count:,} known users, memory", rss, "MB", "no known user", nobody_mb),
            *more,
        ]  # fmt: skip
    return figures


async def _known(home: Path, users: int) -> tuple[list[Figure], float, float]:
    async with nats(home) as server, people(server.url) as them:
        first = flow_without_model(home, server.url, chars=CHARS)
        async with started(first):
            await them.ask(question("first", 0, "hello"))
            began = time.monotonic()
            await _introduce(them, users)
            filled_s = time.monotonic() - began
            await asyncio.sleep(SETTLE_S)
            rss = rss_mb(pid_of(first))
        store_mb = sum(f.stat().st_size for f in home.rglob("*.sqlite3*")) / 2**20
        waiting = asyncio.create_task(them.ask(question("first", 1, "are you back?")))
        killed = time.monotonic()
        # A file of its own, since the first one's log tells that it was ready.
        second = flow_without_model(home, server.url, chars=CHARS)
        second.log = home / "second.log"
        async with started(second):
            ready_s = time.monotonic() - killed
            await waiting
            back_s = time.monotonic() - killed
            again = (await them.ask(question("first", 2, "and now?")))[0]
            rss_after = rss_mb(pid_of(second))
    more = [
        Figure(f"{users:,} known users, memory after the restart", rss_after, "MB"),
        Figure(f"{users:,} known users, recovery store", store_mb, "MB"),
        Figure(f"{users:,} known users, start to ready", ready_s, "s"),
        Figure(f"{users:,} known users, one idle prompt after the restart", again * 1e3, "ms"),
        Figure(f"{users:,} users introduced, a second", users / filled_s, "/s"),
    ]
    return more, rss, back_s


async def _introduce(them: People, users: int) -> None:
    """So many users, a bounded number at a time."""
    numbers = iter(range(users))

    async def some() -> None:
        for number in numbers:
            await them.ask_briefly(question(f"known{number}", 0, "q" * CHARS))

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
