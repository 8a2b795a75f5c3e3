"""The byte budget grants requests in order, and never exceeds its limit."""

import asyncio
import random

import pytest

from dataflow.byte_budget import ByteBudget
from shared.tasks import end


async def settle() -> None:
    """Runs all tasks that can proceed."""
    for _ in range(5):
        await asyncio.sleep(0)


def take(budget: ByteBudget, size: int) -> "asyncio.Task[int]":
    return asyncio.create_task(budget.take(size))


async def test_bytes_are_granted_in_the_order_of_the_requests() -> None:
    """A small request does not overtake a large one that waits."""
    budget = ByteBudget(10)
    assert await budget.take(6) == 6
    large, small = take(budget, 8), take(budget, 2)
    await settle()
    assert not large.done()
    assert not small.done()
    budget.give_back(6)
    await settle()
    assert large.done()
    assert small.done()


async def test_a_request_above_the_limit_gets_the_whole_limit() -> None:
    budget = ByteBudget(10)
    assert await budget.take(1000) == 10
    budget.give_back(10)
    assert await budget.take(10) == 10


async def test_after_a_cancelled_request_the_next_one_is_served() -> None:
    budget = ByteBudget(10)
    await budget.take(5)
    large, small = take(budget, 8), take(budget, 5)
    await settle()
    assert not small.done()
    await end(large)
    await settle()
    assert small.done()


async def test_a_request_cancelled_when_its_turn_comes_gives_its_bytes_back() -> None:
    budget = ByteBudget(10)
    await budget.take(10)
    first, second = take(budget, 10), take(budget, 10)
    await settle()
    budget.give_back(10)
    await end(first)
    await settle()
    assert second.done()


@pytest.mark.parametrize("seed", range(20))
async def test_no_bytes_are_lost_or_granted_twice(seed: int) -> None:
    """Many tasks take, wait, cancel and give back at random."""
    rng = random.Random(seed)
    budget, held, most = ByteBudget(100), 0, 0

    async def use(size: int) -> None:
        nonlocal held, most
        got = await budget.take(size)
        held += got
        most = max(most, held)
        try:
            for _ in range(rng.randint(0, 5)):
                await asyncio.sleep(0)
        finally:
            held -= got
            budget.give_back(got)

    tasks = [asyncio.create_task(use(rng.randint(0, 120))) for _ in range(200)]
    while any(not task.done() for task in tasks):
        await asyncio.sleep(0)
        if rng.random() < 0.3:
            rng.choice(tasks).cancel()
    assert most <= 100
    assert held == 0
    assert await budget.take(100) == 100
