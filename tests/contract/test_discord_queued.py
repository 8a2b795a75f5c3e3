"""Discord shows that a question waits for an earlier one in its thread, and keeps the order."""

from collections.abc import AsyncIterator

import pytest

from bots.discord import posting
from shared.messages import AnyEvent
from shared.replies import Partial
from tests.contract.test_discord_new_messages import asked, part, place_of_question, where
from tests.contract.worlds.discord import DiscordWorld
from tests.contract.worlds.world import answer

QUEUED = "Your question is in the queue."


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DiscordWorld]:
    monkeypatch.setattr(posting, "EDIT_EVERY_S", 0.0)
    async with DiscordWorld() as world:
        yield world


async def show(
    world: DiscordWorld, event: AnyEvent, text: str, sequence: int, *, early: bool = False
) -> None:
    """Shows a status if `early`, else the growing answer."""
    said = {"text": "", "status": text} if early else {"text": text}
    await world.platform.show_partial(
        Partial(prompt_id=event.id, user=event.user, place=event.place, address=event.address,
                attempt=1, sequence=sequence, early=early, **said)
    )  # fmt: skip


async def two_questions(world: DiscordWorld) -> tuple[AnyEvent, AnyEvent]:
    """Two questions in one thread; the second one has a status that says it waits."""
    first = await asked(world, channel=await world.fake.direct(), mention=False)
    second = await asked(world, channel=where(first), mention=False)
    await show(world, second, QUEUED, 1, early=True)
    assert world.fake.read(where(first)) == [QUEUED + posting.CURSOR]
    return first, second


@pytest.mark.parametrize("grows", [True, False])
async def test_an_answer_comes_below_the_one_before_it(world: DiscordWorld, *, grows: bool) -> None:
    """Its status is above the previous answer, so it is deleted before its own answer begins."""
    first, second = await two_questions(world)
    await show(world, first, "one", 1)
    await world.platform.post(part(first, "one"))
    if grows:
        await show(world, second, "tw", 2)
        assert world.fake.read(where(first)) == ["one", f"tw{posting.CURSOR}"]
    await world.platform.post(part(second, "two"))
    assert world.fake.read(where(first)) == ["one", "two"]
    shown = [int(message["id"]) for message in world.fake.posts(where(first))]
    assert shown == sorted(shown)
    assert await world.platform.find_posted(part(second, "two")) == str(shown[1])


async def test_after_a_crash_the_status_is_removed_and_the_order_kept(world: DiscordWorld) -> None:
    """The next process recognizes the status by its button."""
    first, second = await two_questions(world)
    await world.disconnect()
    await world.connect()
    await world.platform.post(part(first, "one"))
    assert await world.platform.find_posted(part(second, "two")) is None
    await world.platform.post(part(second, "two"))
    assert world.fake.read(where(first)) == ["one", "two"]


async def test_the_button_below_a_status_stops_its_question(world: DiscordWorld) -> None:
    """It does the same as the button below a growing answer."""
    first, second = await two_questions(world)
    (shown,) = world.fake.posts(where(first))
    await world.fake.click(int(shown["id"]), "unqueue")
    await world.until_heard(3)
    assert (world.heard[2].kind, world.heard[2].prompt_id) == ("stop", second.id)  # type: ignore[union-attr]


async def test_deleting_a_question_deletes_its_status(world: DiscordWorld) -> None:
    """This holds even after a restart."""
    first, second = await two_questions(world)
    await world.disconnect()
    await world.connect()
    await world.platform.withdraw(answer(second, ""))
    assert world.fake.read(where(first)) == []


async def test_a_command_shows_its_status_in_the_placeholder(world: DiscordWorld) -> None:
    """A placeholder keeps its position, so it can become the answer."""
    event = await place_of_question(world, "command")
    await show(world, event, QUEUED, 1, early=True)
    (shown,) = world.fake.posts(where(event))
    await show(world, event, "wa", 2)
    await world.platform.post(part(event, "wax"))
    (posted,) = world.fake.posts(where(event))
    assert (posted["content"], posted["id"]) == ("wax", shown["id"])


async def test_a_status_whose_response_was_lost_is_deleted(
    world: DiscordWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adapter searches for it before the answer begins."""
    monkeypatch.setattr(posting, "PREVIEW_WITHIN_S", 0.3)
    event = await asked(world, channel=await world.fake.direct(), mention=False)
    world.fake.fail("POST", r"/messages$", kind="lost", times=9)
    await show(world, event, QUEUED, 1, early=True)
    assert world.fake.read(where(event)) == [QUEUED + posting.CURSOR]
    world.fake.faults.clear()
    await world.platform.post(part(event, "wax"))
    assert world.fake.read(where(event)) == ["wax"]
