"""Each overdue callback is called once and in order, and no others are."""

import asyncio
import itertools

from dataflow.overdue import Overdue

AFTER_S = 0.3


async def test_only_what_has_not_happened_is_told_and_once() -> None:
    told: list[int] = []
    lates = [lambda number=number: told.append(number) for number in range(6)]
    overdue = Overdue(AFTER_S)
    for number, late in enumerate(lates):
        overdue.expect(late)
        if number % 2:
            overdue.happened(late)
        await asyncio.sleep(AFTER_S / 10)
    await asyncio.sleep(3 * AFTER_S)
    assert told == [0, 2, 4]


async def test_it_waits_anew_after_it_had_nothing_to_wait_for() -> None:
    told: list[float] = []
    loop = asyncio.get_running_loop()
    overdue = Overdue(AFTER_S)

    def late() -> None:
        told.append(loop.time())

    overdue.expect(late)
    overdue.happened(late)
    overdue.happened(late)
    await asyncio.sleep(1.5 * AFTER_S)
    began = loop.time()
    overdue.expect(late)
    await asyncio.sleep(2 * AFTER_S)
    assert len(told) == 1
    assert told[0] - began >= AFTER_S


async def test_a_callback_may_wait_again() -> None:
    told: list[float] = []
    loop = asyncio.get_running_loop()
    overdue = Overdue(AFTER_S)

    def late() -> None:
        told.append(loop.time())
        if len(told) < 3:
            overdue.expect(late)

    overdue.expect(late)
    await asyncio.sleep(5 * AFTER_S)
    assert len(told) == 3
    assert all(later - earlier >= AFTER_S for earlier, later in itertools.pairwise(told))
