"""The line below a thread that says that the bot is at work, where an answer is there at once."""

import asyncio

import pytest

from bots.platform import Part
from bots.slack import status
from tests.contract.worlds.slack import SlackWorld
from tests.contract.worlds.world import answer


async def test_an_answer_that_is_there_at_once_costs_no_call_for_the_status_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither set nor cleared, nor does it come later."""
    monkeypatch.setattr(status, "SHOWN_AFTER_S", 3600)
    async with SlackWorld() as world:
        world.slack.mention("question")
        await world.until_heard(1)
        async with asyncio.timeout(5):
            while not world.platform._status._setting:
                await asyncio.sleep(0.01)
        done = answer(world.heard[0], "hello")
        await world.platform.post(Part(done, done.text, 0, 1))
        await world.platform._status.settled()
        assert "agents.sessions.setStatus" not in [method for method, _ in world.slack.calls]
