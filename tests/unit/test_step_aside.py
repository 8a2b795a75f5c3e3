"""When a process that is cut off leaves its work to others."""

import asyncio
from typing import Any, cast

import pytest

from bots import step_aside
from bots.peers import HEARD_S
from bots.step_aside import (
    LAST_QUIET_S,
    PROVEN_S,
    next_quiet_s,
    pause_without_nats,
    until_unreached,
)
from shared.pulse import now_s
from shared.tasks import end


class Waiting:
    """A lease for which others wait, or not."""

    others_wait = True


class Platform:
    """A platform that answers or not, and how often it was asked."""

    def __init__(self) -> None:
        self.answers = True
        self.asked = 0

    async def reaches(self) -> bool:
        self.asked += 1
        return self.answers


class Adapter:
    """One that takes events or not."""

    paused = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


class Others:
    """Whether this process is alive for others, and when one of them was last heard."""

    def __init__(self, heard_at: float) -> None:
        self.heard_at = heard_at
        self.pulse = self
        self.is_fresh = True


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHECK_EVERY_S", "UNREACHED_S", "STARTS_WITHIN_S", "NATS_AWAY_S"):
        monkeypatch.setattr(step_aside, name, getattr(step_aside, name) / 50)


async def test_a_holder_steps_aside_if_the_platform_does_not_answer_and_another_waits() -> None:
    platform, lease = Platform(), Waiting()
    waiting = asyncio.create_task(until_unreached(platform.reaches, cast(Any, lease)))
    await asyncio.sleep(0.3)
    platform.answers = False
    lease.others_wait = False  # alone, it stays
    asked = platform.asked
    await asyncio.sleep(0.3)
    assert not waiting.done()
    assert platform.asked == asked
    lease.others_wait = True
    async with asyncio.timeout(5):
        await waiting


async def test_a_holder_that_never_connects_gets_time_to_start() -> None:
    platform = Platform()
    platform.answers = False
    started = asyncio.get_running_loop().time()
    async with asyncio.timeout(5):
        await until_unreached(platform.reaches, cast(Any, Waiting()))
    assert asyncio.get_running_loop().time() - started >= step_aside.STARTS_WITHIN_S


def test_in_an_outage_of_the_platform_the_lease_moves_less_and_less_often() -> None:
    """Until a holder has had it for so long that it must have reached the platform."""
    quiet, found = 0.0, []
    for _ in range(7):
        quiet = next_quiet_s(quiet, held_for_s=10.0)
        found.append(quiet)
    assert found == [30.0, 60.0, 120.0, 240.0, 480.0, LAST_QUIET_S, LAST_QUIET_S]
    assert next_quiet_s(quiet, held_for_s=PROVEN_S) == 30.0


async def test_a_process_without_nats_takes_no_events_until_it_is_back() -> None:
    """Not after a short outage, which is over before an event would be lost."""
    adapter, others = Adapter(), Others(now_s())
    pausing = asyncio.create_task(pause_without_nats(adapter, cast(Any, others)))
    try:
        others.is_fresh = False
        await asyncio.sleep(step_aside.NATS_AWAY_S / 2)
        assert not adapter.paused
        async with asyncio.timeout(5):
            while not adapter.paused:
                await asyncio.sleep(0.01)
            others.is_fresh = True
            while adapter.paused:
                await asyncio.sleep(0.01)
    finally:
        await end(pausing)


async def test_a_process_that_heard_of_no_other_one_goes_on_without_nats() -> None:
    """Nobody else would take the events."""
    adapter, others = Adapter(), Others(now_s() - 2 * HEARD_S)
    others.is_fresh = False
    pausing = asyncio.create_task(pause_without_nats(adapter, cast(Any, others)))
    await asyncio.sleep(4 * step_aside.NATS_AWAY_S)
    assert not adapter.paused
    await end(pausing)
