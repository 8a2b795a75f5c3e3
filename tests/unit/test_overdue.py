"""Only overdue callbacks are called, each of them once and in order."""

import asyncio
import itertools

from dataflow.overdue import Overdue

AFTER_S = 0.3


async def test_only_callbacks_of_events_that_did_not_happen_are_called() -> None:
    calls: list[int] = []
    lates = [lambda number=number: calls.append(number) for number in range(6)]
    overdue = Overdue(AFTER_S)
    for number, late in enumerate(lates):
        overdue.expect(late)
        if number % 2:
            overdue.happened(late)
        await asyncio.sleep(AFTER_S / 10)
    await asyncio.sleep(3 * AFTER_S)
    assert calls == [0, 2, 4]


async def test_a_new_wait_after_an_idle_time_has_its_full_length() -> None:
    calls: list[float] = []
    loop = asyncio.get_running_loop()
    overdue = Overdue(AFTER_S)

    def late() -> None:
        calls.append(loop.time())

    overdue.expect(late)
    overdue.happened(late)
    overdue.happened(late)
    await asyncio.sleep(1.5 * AFTER_S)
    began = loop.time()
    overdue.expect(late)
    await asyncio.sleep(2 * AFTER_S)
    assert len(calls) == 1
    assert calls[0] - began >= AFTER_S


async def test_a_callback_may_wait_again() -> None:
    calls: list[float] = []
    loop = asyncio.get_running_loop()
    overdue = Overdue(AFTER_S)

    def late() -> None:
        calls.append(loop.time())
        if len(calls) < 3:
            overdue.expect(late)

    overdue.expect(late)
    await asyncio.sleep(5 * AFTER_S)
    assert len(calls) == 3
    assert all(later - earlier >= AFTER_S for earlier, later in itertools.pairwise(calls))
