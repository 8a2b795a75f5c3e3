"""Storing many questions at the same moment, compared with the same messages one by one."""

import asyncio
import itertools
import statistics
import time
from pathlib import Path

from shared import names
from shared.bus import Bus
from shared.messages import Ask
from tests.benchmarks.figures import Figure
from tests.benchmarks.processes import nats
from tests.running import question

AT_ONCE = (1, 20, 200, 2000)
TIMES = 9
PEOPLE = 50
"""Users who share the questions, because of the daily quota per user."""


async def measure(home: Path) -> list[Figure]:
    """Measures messages per second until the last acknowledgement: the median of alternate runs."""
    figures = []
    async with nats(home) as server:
        bus = await Bus.connect(server.url, name="storing")
        numbers = itertools.count()

        def questions(kind: str, count: int) -> list[Ask]:
            asked = itertools.islice(numbers, count)
            return [question(f"{kind}{number % PEOPLE}", number, "hello") for number in asked]

        async def one_by_one(count: int) -> float:
            asks = questions("alone", count)
            began = time.monotonic()
            await asyncio.gather(
                *(
                    bus.js.publish(
                        names.prompt_subject(ask.user), ask.wire(), headers={"Nats-Msg-Id": ask.id}
                    )
                    for ask in asks
                )
            )
            return count / (time.monotonic() - began)

        async def together(count: int) -> float:
            asks = questions("together", count)
            began = time.monotonic()
            await asyncio.gather(*map(bus.publish, asks))
            return count / (time.monotonic() - began)

        for count in AT_ONCE:
            rates = [(await one_by_one(count), await together(count)) for _ in range(TIMES)]
            alone, ours = (statistics.median(rate) for rate in zip(*rates, strict=True))
            figures.append(
                Figure(f"{count} at once, stored per second", ours, "/s", "one by one", alone)
            )
        await bus.close()
    return figures
