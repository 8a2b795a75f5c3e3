"""The form after a thumb down on Discord: the real client and the fake Discord."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.messages import Ask, Rate
from tests.contract.test_discord_messages import answered, buttons, heard
from tests.contract.worlds.discord import DiscordWorld


@pytest.fixture
async def world() -> AsyncIterator[DiscordWorld]:
    async with DiscordWorld() as world:
        yield world


async def rated_down(world: DiscordWorld) -> tuple[Ask, int]:
    """A question whose answer got a thumb down, and the message with the answer."""
    await world.fake.say("one", mention=True)
    (ask,) = await heard(world)
    assert isinstance(ask, Ask)
    posted = await answered(world, ask)
    await world.fake.click(posted, "down")
    await world.until_heard(2)
    await world.fake.until(lambda: offers_form(world, posted))
    return ask, posted


def offers_form(world: DiscordWorld, posted: int) -> bool:
    return any(":correct:" in button["custom_id"] for button in buttons(world, posted))


def told(world: DiscordWorld, person: str) -> list[str]:
    everywhere = [
        post for one in world.fake.channels for post in world.fake.posts(one, author=person)
    ]
    return [post["content"] for post in everywhere if post.get("_only_for") == person]


async def test_a_form_after_a_thumb_down_outlives_a_restart(world: DiscordWorld) -> None:
    """The words come as another rating of the same answer. A thumb up takes the button away."""
    ask, posted = await rated_down(world)
    await world.fake.click(posted, "correct")
    await world.fake.until(lambda: world.fake.forms)
    await world.disconnect()
    await world.connect()
    await world.fake.submit(reason=" too short ", correction="Longer\nwords.")
    _, thumb, words = await heard(world, 3)
    assert isinstance(thumb, Rate)
    assert isinstance(words, Rate)
    assert (thumb.thumb, thumb.reason) == ("down", "")
    assert (words.thumb, words.reason, words.correction) == ("down", "too short", "Longer\nwords.")
    assert (words.prompt_id, words.user, words.place) == (ask.id, ask.user, ask.place)
    assert words.id != thumb.id
    await world.fake.until(lambda: "Thank you" in str(told(world, "ada")))
    await world.fake.click(posted, "up")
    await world.fake.until(lambda: not offers_form(world, posted))


async def test_an_empty_form_stores_nothing(world: DiscordWorld) -> None:
    _, posted = await rated_down(world)
    await world.fake.click(posted, "correct")
    await world.fake.until(lambda: world.fake.forms)
    await world.fake.submit(reason="  ")
    await world.fake.until(lambda: told(world, "ada"))
    assert len(world.heard) == 2


async def test_only_the_asker_gets_a_form(world: DiscordWorld) -> None:
    """Also if somebody sends a form with the id of another person's question."""
    ask, posted = await rated_down(world)
    await world.fake.click(posted, "correct", author="bob")
    await world.fake.until(lambda: told(world, "bob"))
    assert world.fake.forms == {}
    await world.fake.click(posted, "correct")
    await world.fake.until(lambda: world.fake.forms)
    stolen: Any = world.fake.forms.pop("ada")
    world.fake.forms["bob"] = stolen
    await world.fake.submit(author="bob", correction="mine")
    await world.fake.until(lambda: len(told(world, "bob")) == 2)
    assert len(world.heard) == 2
    assert ask.id in stolen[0]["custom_id"]
