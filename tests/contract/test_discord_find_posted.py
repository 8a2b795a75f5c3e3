"""Posted parts are found long after Discord has forgotten their nonces."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bots.discord import posting
from bots.platform import Part
from shared.messages import AnyEvent
from shared.replies import Outcome
from tests.contract.worlds.discord import DiscordWorld
from tests.contract.worlds.world import answer
from tests.fakes.discord_shapes import Json

NOTICE = "I cannot reach my language model right now."
PIECES = ["x" * 1990, "y" * 1990, f"the end {'z' * 100}"]
WHOLE = "\n\n".join(PIECES)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DiscordWorld]:
    """A world in which Discord has forgotten all nonces."""
    monkeypatch.setattr(posting, "NONCE_HOLDS_S", 0.0)
    async with DiscordWorld() as world:
        world.fake.nonce_window_s = 0.0
        yield world


async def asked(world: DiscordWorld, **how: Any) -> AnyEvent:
    count = len(world.heard)
    await world.fake.say("what is wax?", **{"mention": True, **how})
    await world.until_heard(count + 1)
    return world.heard[-1]


def part(event: AnyEvent, index: int = 0, outcome: Outcome = "answered", text: str = "") -> Part:
    """A part of the long answer, or `text` as the only part."""
    reply = answer(event, text or WHOLE).model_copy(update={"outcome": outcome})
    return Part(reply, text, 0, 1) if text else Part(reply, PIECES[index], index, len(PIECES))


async def post(world: DiscordWorld, *parts: Part) -> list[str]:
    return [await world.platform.post(part) for part in parts]


@pytest.mark.parametrize("outcome", ["failed", "refused", "stopped"])
@pytest.mark.parametrize("where", ["direct", "thread"])
async def test_an_equal_notice_belongs_to_another_question(
    world: DiscordWorld, where: str, outcome: Outcome
) -> None:
    """The process died before it posted the second notice; the next process posts it."""
    fake = world.fake
    channel = await fake.direct()
    first = await asked(world, **({"channel": channel} if where == "direct" else {}))
    if where == "thread":
        await world.platform.post(part(first, text="hello"))
        channel = int(first.place.thread)
        first = await asked(world, channel=channel)
    second = await asked(world, channel=channel)
    await post(world, part(first, text=NOTICE, outcome=outcome))
    lost = part(second, text=NOTICE, outcome=outcome)
    assert await world.platform.find_posted(lost) is None
    (receipt,) = await post(world, lost)
    assert await world.platform.find_posted(lost) == receipt
    assert fake.read(channel).count(NOTICE) == 2


@pytest.mark.parametrize("author", ["ada", "bob"])
async def test_an_equal_part_of_another_answer_does_not_count(
    world: DiscordWorld, author: str
) -> None:
    """Two equal answers in a thread, to one person or to two, each have all their parts."""
    first = await asked(world)
    await post(world, part(first, text="hello"))
    thread = int(first.place.thread)
    one = await asked(world, channel=thread)
    other = await asked(world, channel=thread, author=author)
    await post(world, *(part(one, index) for index in range(3)))
    for index in range(3):
        assert await world.platform.find_posted(part(other, index)) is None
        await post(world, part(other, index))
    assert world.fake.read(thread) == ["hello", *PIECES, *PIECES]


@pytest.mark.parametrize("where", ["opened", "thread", "direct", "reply"])
async def test_a_part_of_a_long_answer_is_found(world: DiscordWorld, where: str) -> None:
    """Either nobody else writes there, or the first part refers to its question."""
    fake = world.fake
    if where == "reply":
        fake.denied[fake.general] = {"create_public_threads"}
    event = await asked(world, **({"channel": await fake.direct()} if where == "direct" else {}))
    if where == "thread":
        await post(world, part(event, text="hello"))
        event = await asked(world, channel=int(event.place.thread))
    if where == "reply":
        await fake.say("chatter", author="bob")
    for index in range(3):
        assert await world.platform.find_posted(part(event, index)) is None
        (receipt,) = await post(world, part(event, index))
        if where == "reply":
            await fake.say("more chatter", author="eve")
        for known in range(index):
            assert await world.platform.find_posted(part(event, known)) is not None
        assert await world.platform.find_posted(part(event, index)) == receipt


async def test_an_ambiguous_part_is_posted_twice_rather_than_lost(
    world: DiscordWorld,
) -> None:
    """Two answers in a thread that broke off after equal first parts are indistinguishable."""
    first = await asked(world)
    await post(world, part(first, text="hello"))
    thread = int(first.place.thread)
    await asked(world, channel=thread, author="bob")
    mine = await asked(world, channel=thread)
    await post(world, part(mine, 0))
    assert await world.platform.find_posted(part(mine, 0)) is None


async def test_earlier_parts_are_found_by_the_last_one(world: DiscordWorld) -> None:
    """Messages directly before the last part belong to its reply, even if others write there."""
    first = await asked(world)
    await post(world, part(first, text="hello"))
    thread = int(first.place.thread)
    await asked(world, channel=thread, author="bob")
    mine = await asked(world, channel=thread)
    receipts = await post(world, *(part(mine, index) for index in range(3)))
    found = [await world.platform.find_posted(part(mine, index)) for index in range(3)]
    assert found == receipts


async def test_a_known_loss_needs_three_faults_at_once(world: DiscordWorld) -> None:
    """Buttons are refused, two texts are equal, and the first comes after the second question.

    This is the only known case; the test documents it.
    """
    from tests.fakes.discord_rules import FieldRefused  # noqa: PLC0415

    world.fake.fields_refused.append(FieldRefused("components", 400, 50035))
    channel = await world.fake.direct()
    one = await asked(world, channel=channel)
    two = await asked(world, channel=channel)
    await post(world, part(one, text=NOTICE))
    assert await world.platform.find_posted(part(two, text=NOTICE)) is not None


async def test_malformed_messages_do_not_hinder_the_search(world: DiscordWorld) -> None:
    """They have no author or are otherwise malformed."""
    event = await asked(world)
    (receipt,) = await post(world, part(event, text="hello"))
    for malformed in (
        {"author": None},
        {"components": None},
        {"message_reference": "x"},
        {"id": "x"},
    ):
        await world.fake.say("?", channel=int(event.place.thread), malformed=Json(malformed))
    assert await world.platform.find_posted(part(event, text="hello")) == receipt
