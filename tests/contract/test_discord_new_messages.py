"""A slow answer ends as a new message, and its preview never remains next to it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bots.discord import posting
from bots.platform import Later, Part
from shared.messages import AnyEvent
from shared.replies import Outcome, Partial
from tests.contract.worlds.discord import DiscordWorld
from tests.contract.worlds.world import answer
from tests.fakes.discord_shapes import THINKING

AFTER_S = 0.3
STATUS = "Your question waits for the language model, which is busy."


@pytest.fixture
async def world() -> AsyncIterator[DiscordWorld]:
    async with DiscordWorld(DISCORD_NEW_MESSAGE_AFTER_S=AFTER_S) as world:
        yield world


async def asked(world: DiscordWorld, text: str = "what is wax?", **how: Any) -> AnyEvent:
    count = len(world.heard)
    await world.fake.say(text, **{"mention": True, **how})
    await world.until_heard(count + 1)
    return world.heard[-1]


def partial(event: AnyEvent, text: str, sequence: int = 1, status: str = "") -> Partial:
    return Partial(
        prompt_id=event.id, user=event.user, place=event.place, address=event.address, text=text,
        attempt=1, sequence=sequence, status=status,
    )  # fmt: skip


def part(
    event: AnyEvent, text: str, index: int = 0, count: int = 1, outcome: Outcome = "answered"
) -> Part:
    reply = answer(event, text).model_copy(update={"outcome": outcome})
    return Part(reply, text, index, count)


def where(event: AnyEvent) -> int:
    """The channel of the answer."""
    return int(event.place.thread or event.place.channel)


async def previewed(world: DiscordWorld, event: AnyEvent, *, old: bool = True) -> int:
    """Shows a preview; if `old`, waits until it is old enough to be replaced. Returns its id."""
    await world.platform.show_partial(partial(event, "half of"))
    (preview,) = world.fake.posts(where(event))
    if old:
        await asyncio.sleep(AFTER_S)
    return int(preview["id"])


async def place_of_question(world: DiscordWorld, kind: str) -> AnyEvent:
    if kind == "direct":
        return await asked(world, channel=await world.fake.direct(), mention=False)
    if kind == "forum":
        post = await world.fake.post_in_forum("Wax", "what is it?")
        await world.until_heard(1)
        assert world.heard[0].place.thread == str(post)
        return world.heard[0]
    if kind == "command":
        await world.fake.command("ask", question="what is wax?")
        await world.until_heard(1)
        await world.fake.until(lambda: world.fake.read() == [THINKING])
        return world.heard[0]
    return await asked(world)


@pytest.mark.parametrize("kind", ["opened", "direct", "forum", "command"])
async def test_an_old_preview_is_replaced_by_a_new_message(world: DiscordWorld, kind: str) -> None:
    """The new message appears as unread below all others, and pings nobody."""
    event = await place_of_question(world, kind)
    preview = await previewed(world, event)
    await world.fake.say("chatter", author="bob", channel=where(event))
    receipt = await world.platform.post(part(event, "the whole"))
    assert int(receipt) > preview
    assert world.fake.read(where(event)) == ["the whole"]
    assert world.fake.posts(where(event))[0]["components"]
    assert world.fake.pings == []
    assert await world.platform.find_posted(part(event, "the whole")) == receipt


async def test_a_long_answer_begins_in_its_preview(world: DiscordWorld) -> None:
    """Its other parts are new messages anyway, and the last one has the buttons."""
    event = await asked(world)
    preview = await previewed(world, event)
    for index in range(3):
        await world.platform.post(part(event, f"part {index}", index, 3))
    assert int(world.fake.posts(where(event))[0]["id"]) == preview
    assert world.fake.read(where(event)) == ["part 0", "part 1", "part 2"]
    assert [bool(m["components"]) for m in world.fake.posts(where(event))] == [False, False, True]


async def test_a_new_message_refers_to_its_question() -> None:
    """The setting makes answers replies to their questions."""
    settings = {"DISCORD_ANSWER_IN": "reply", "DISCORD_NEW_MESSAGE_AFTER_S": AFTER_S}
    async with DiscordWorld(**settings) as world:
        event = await asked(world)
        await previewed(world, event)
        await world.platform.post(part(event, "the whole"))
        (posted,) = world.fake.posts()
        assert posted["message_reference"]["message_id"] == event.address["message"]


@pytest.mark.parametrize(("old", "outcome"), [(False, "answered"), (True, "stopped")])
async def test_a_recent_or_stopped_preview_is_edited(
    world: DiscordWorld, outcome: Outcome, *, old: bool
) -> None:
    """The person is still looking at it."""
    event = await asked(world)
    preview = await previewed(world, event, old=old)
    receipt = await world.platform.post(part(event, "the whole", outcome=outcome))
    assert int(receipt) == preview
    assert world.fake.read(where(event)) == ["the whole"]


async def test_new_messages_can_be_switched_off() -> None:
    """With 0, the preview always becomes the answer."""
    async with DiscordWorld(DISCORD_NEW_MESSAGE_AFTER_S=0) as world:
        event = await asked(world)
        preview = await previewed(world, event)
        assert int(await world.platform.post(part(event, "the whole"))) == preview


@pytest.mark.parametrize(
    "fault", [{"status": 403, "code": 50013}, {"status": 400, "code": 200000, "times": 1}]
)
async def test_if_a_new_message_is_refused_the_preview_is_edited(
    world: DiscordWorld, fault: dict[str, Any]
) -> None:
    """If a permission is lost meanwhile, only the notification is lost."""
    event = await asked(world)
    preview = await previewed(world, event)
    world.fake.fail("POST", r"/messages$", **fault)
    assert int(await world.platform.post(part(event, "the whole"))) == preview
    assert world.fake.read(where(event)) == ["the whole"]


@pytest.mark.parametrize("status", [404, 403])
async def test_a_preview_that_cannot_be_deleted_does_not_block_the_answer(
    world: DiscordWorld, status: int
) -> None:
    """It was deleted already, or the bot lost access: the answer is posted once."""
    event = await asked(world)
    await previewed(world, event)
    world.fake.fail("DELETE", "/messages/", status=status, code=10008 if status == 404 else 50001)
    await world.platform.post(part(event, "the whole"))
    assert world.fake.read(where(event))[-1:] == ["the whole"]


@pytest.mark.parametrize("kind", ["status", "lost", "reset"])
async def test_deleting_a_preview_is_retried(world: DiscordWorld, kind: str) -> None:
    """The new message is not posted again, although Discord forgets its nonce meanwhile."""
    world.fake.nonce_window_s = 0.0
    event = await asked(world)
    await previewed(world, event)
    times = 1 if kind == "lost" else 5
    world.fake.fail("DELETE", "/messages/", kind=kind, status=503, times=times)
    failed: list[bool] = []
    for _ in range(9):
        try:
            await world.platform.post(part(event, "the whole"))
        except Later as error:
            failed.append(error.maybe_posted)
        else:
            break
    assert not any(failed), "the text is not the cause"
    assert world.fake.read(where(event)) == ["the whole"]


@pytest.mark.parametrize("nonce", ["known", "forgotten"])
@pytest.mark.parametrize("cut", ["before", "between"])
async def test_a_crash_leaves_no_second_answer(
    world: DiscordWorld, monkeypatch: pytest.MonkeyPatch, cut: str, nonce: str
) -> None:
    """After a crash before the new message or before the deletion, the next process finishes."""
    event = await asked(world)
    await previewed(world, event)
    first = part(event, "the whole")
    if cut == "between":
        world.fake.fail("DELETE", "/messages/", status=503, times=100)
        with pytest.raises(Later):
            await world.platform.post(first)
        assert world.fake.read(where(event)) == ["half of ▌", "the whole"]
    await world.disconnect()
    world.fake.faults.clear()
    if nonce == "forgotten":
        world.fake.nonce_window_s = 0.0
        monkeypatch.setattr(posting, "NONCE_HOLDS_S", 0.0)
    await world.connect()
    if await world.platform.find_posted(first) is None:
        await world.platform.post(first)
    assert world.fake.read(where(event)) == ["the whole"]


async def test_a_crash_with_a_closed_history_leaves_no_second_answer(
    world: DiscordWorld,
) -> None:
    """Messages cannot be searched for there, so both are found by their nonces."""
    event = await asked(world)
    await previewed(world, event)
    world.fake.fail("DELETE", "/messages/", status=503, times=100)
    with pytest.raises(Later):
        await world.platform.post(part(event, "the whole"))
    await world.disconnect()
    world.fake.faults.clear()
    world.fake.denied[world.fake.general] = {"read_message_history"}
    await world.connect()
    assert await world.platform.find_posted(part(event, "the whole")) is None
    await world.platform.post(part(event, "the whole"))
    assert world.fake.read(where(event)) == ["the whole"]


# --- status messages ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["opened", "direct", "command"])
async def test_a_status_becomes_the_preview_with_the_first_text(
    world: DiscordWorld, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """It is one message from the status to the answer, with a Stop button."""
    monkeypatch.setattr(posting, "EDIT_EVERY_S", 0.0)
    event = await place_of_question(world, kind)
    await world.platform.show_partial(partial(event, "", 1, STATUS))
    assert world.fake.read(where(event)) == [f"{STATUS}{posting.CURSOR}"]
    (shown,) = world.fake.posts(where(event))
    assert "stop" in str(shown["components"])
    await world.platform.show_partial(partial(event, "", 2, "It is being tried again."))
    assert world.fake.read(where(event)) == [f"It is being tried again.{posting.CURSOR}"]
    await world.platform.show_partial(partial(event, "Wax is", 3))
    assert world.fake.read(where(event)) == [f"Wax is{posting.CURSOR}"]
    await world.platform.post(part(event, "Wax is a lipid.", outcome="stopped"))
    assert world.fake.read(where(event)) == ["Wax is a lipid."]
    assert world.fake.posts(where(event))[0]["id"] == shown["id"]


async def test_a_status_never_remains(world: DiscordWorld) -> None:
    """It is removed if the answer comes at once, and if the question is deleted."""
    event = await asked(world)
    await world.platform.show_partial(partial(event, "", 1, STATUS))
    await world.platform.post(part(event, "whole"))
    assert world.fake.read(where(event)) == ["whole"]
    other = await asked(world, channel=where(event), mention=False)
    await world.platform.show_partial(partial(other, "", 1, STATUS))
    await world.platform.withdraw(answer(other, ""))
    assert world.fake.read(where(event)) == ["whole"]


async def test_a_partial_without_text_or_status_shows_nothing(world: DiscordWorld) -> None:
    """There is nothing to show yet."""
    event = await asked(world)
    await world.platform.show_partial(partial(event, " \n"))
    assert world.fake.read() == []
