"""Requirements that every platform meets, as a person sees them."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from bots.platform import Later, Part
from shared.messages import AnyEvent, Ask
from shared.replies import Partial, Reply
from tests.contract.worlds.discord import DiscordWorld
from tests.contract.worlds.slack import SlackWorld
from tests.contract.worlds.terminal import TerminalWorld
from tests.contract.worlds.web import WebWorld
from tests.contract.worlds.world import World, answer

WITHIN_S = 15.0
QUIET_S = 0.4
"""How long to wait for an event that must not come; an event takes a tenth of this."""

LIMIT_S = 1.0

WORLDS = {"discord": DiscordWorld, "slack": SlackWorld, "terminal": TerminalWorld, "web": WebWorld}
"""Add a new platform here; docs/add-a-platform.md lists the other places."""


@pytest.fixture(params=sorted(WORLDS))
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A platform and its listening adapter."""
    async with WORLDS[request.param]() as world:
        yield world


def needs(world: World, ability: str) -> None:
    if not world.can(ability):
        pytest.skip(f"this platform has no {ability}")


async def heard(world: World, count: int = 1) -> list[AnyEvent]:
    async with asyncio.timeout(WITHIN_S):
        while len(world.heard) < count:
            await asyncio.sleep(0.01)
    return world.heard


async def shown(world: World, message: str, count: int = 1) -> list[str]:
    async with asyncio.timeout(WITHIN_S):
        while len(texts := await world.replies_to(message)) < count:
            await asyncio.sleep(0.01)
    return texts


async def post(world: World, reply: Reply, *texts: str) -> None:
    """Posts the parts of a reply as the relay does: in order, waiting when it is told to."""
    for index, text in enumerate(texts):
        while True:
            try:
                await world.platform.post(Part(reply, text, index, len(texts)))
            except Later as later:
                await asyncio.sleep(later.wait_s)
            else:
                break


async def best_effort(world: World, ask: AnyEvent) -> None:
    """Every call that must not raise: a status, a growing answer, and its end."""
    partial = Partial(
        prompt_id=ask.id, user=ask.user, place=ask.place, address=ask.address, text="",
        status="The model is busy.", attempt=0, sequence=1,
    )  # fmt: skip
    withdrawn = answer(ask, "").model_copy(update={"outcome": "withdrawn"})
    async with asyncio.timeout(WITHIN_S):
        for shown in (partial, partial.model_copy(update={"text": "grows", "sequence": 2})):
            await world.platform.show_partial(shown)
        await world.platform.withdraw(withdrawn)


class TestEveryPlatform:
    async def test_a_message_arrives_once_with_an_aware_time(self, world: World) -> None:
        """A message becomes one question with its text, its author and a time in UTC."""
        await world.say("what is wax?")
        (ask,) = await heard(world)
        await asyncio.sleep(QUIET_S)
        assert len(world.heard) == 1
        assert isinstance(ask, Ask)
        assert ask.text == "what is wax?"
        assert ask.user.startswith(f"{world.platform.name}:")
        offset = ask.said_at.utcoffset()
        assert offset is not None
        assert not offset
        assert abs(time.time() - ask.said_at.timestamp()) < WITHIN_S

    async def test_two_people_are_two_users(self, world: World) -> None:
        """No message is attributed to another person."""
        needs(world, "bots")
        await world.say("I am Ada")
        await world.say("I am Bob", author="bob")
        one, other = await heard(world, 2)
        assert one.user != other.user

    @pytest.mark.parametrize("author", ["self", "otherbot"])
    async def test_bots_are_ignored(self, world: World, author: str) -> None:
        """Neither the bot's own messages nor those of other bots become questions."""
        needs(world, "bots")
        await world.say("bots talking", author=author)
        await world.say("a person talking")
        events = await heard(world)
        await asyncio.sleep(QUIET_S)
        assert [e.text for e in events if isinstance(e, Ask)] == ["a person talking"]

    async def test_a_reply_appears_below_its_question(self, world: World) -> None:
        """All parts appear in order where the question was asked, and nowhere else."""
        first = await world.say("first")
        (ask,) = await heard(world)
        await post(world, answer(ask, "one\n\ntwo"), "one", "two")
        texts = await shown(world, first, 2)
        assert [text.strip() for text in texts] == ["one", "two"]

    async def test_a_part_that_is_posted_twice_appears_once(self, world: World) -> None:
        """Posting again after a lost response shows nothing new."""
        needs(world, "redelivery")
        message = await world.say("twice?")
        (ask,) = await heard(world)
        part = Part(answer(ask, "once"), "once", 0, 1)
        receipt = await world.platform.post(part)
        if await world.platform.find_posted(part) != receipt:
            assert await world.platform.post(part) == receipt
        await asyncio.sleep(QUIET_S)
        assert await world.replies_to(message) == ["once"]

    async def test_a_redelivery_keeps_its_id(self, world: World) -> None:
        """A message that is delivered twice has the same id."""
        needs(world, "redelivery")
        message = await world.say("hello")
        await heard(world)
        await world.deliver_again(message)
        await asyncio.sleep(QUIET_S)
        assert len({event.id for event in world.heard}) == 1

    async def test_a_rate_limit_becomes_a_wait(self, world: World) -> None:
        """A rate limit delays a reply, but loses nothing."""
        needs(world, "limits")
        message = await world.say("slowly")
        (ask,) = await heard(world)
        await world.limit_once(LIMIT_S)
        started = time.monotonic()
        await post(world, answer(ask, "here it is"), "here it is")
        assert time.monotonic() - started >= LIMIT_S * 0.9
        assert await shown(world, message) == ["here it is"]

    async def test_previews_and_their_removal_never_raise_a_refusal(self, world: World) -> None:
        """They are best effort: only `post` reports that the bot is not allowed to write there."""
        needs(world, "refusals")
        await world.say("hello")
        (ask,) = await heard(world)
        await world.refuse_everything()
        await best_effort(world, ask)

    @pytest.mark.parametrize("way", ["closed", "ended"])
    async def test_previews_and_their_removal_never_raise_at_the_end(
        self, world: World, way: str
    ) -> None:
        """The relay may still be busy when the adapter has closed its connections."""
        await world.say("hello")
        (ask,) = await heard(world)
        if way == "closed":
            await world.platform.close()
        await world.end()
        await best_effort(world, ask)
