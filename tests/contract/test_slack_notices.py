"""Slack messages that cannot become questions are acknowledged, and their author gets a notice."""

import asyncio

import pytest

from bots.slack import working
from bots.slack.wording import EMPTY, NOT_NOW, NOT_UNDERSTOOD, OVER_QUOTA, TOO_LONG
from shared.blobs import BlobStoreFull
from shared.bus import OverQuota, StoreFull, TooLarge
from shared.messages import Ask
from shared.replies import Outcome
from tests.contract.test_slack_answers import answered, asked, show, where
from tests.contract.test_slack_messages import nothing_more, prompt
from tests.contract.worlds.slack import SlackWorld
from tests.contract.worlds.world import answer
from tests.fakes.slack import BOT, ROOM

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 100


async def test_with_a_full_object_store_only_the_picture_is_lost() -> None:
    """The author gets a notice, and the model learns that there is a picture it cannot see."""
    async with SlackWorld() as world:
        world.store_raises = BlobStoreFull()
        files = [world.slack.file(f"{n}.png", "image/png", PNG) for n in "ab"]
        world.slack.mention("what is this?", files=files, subtype="file_share")
        (ask,) = await world.until_heard()
        assert isinstance(ask, Ask)
        assert [(a.name, a.blob) for a in ask.attachments] == [("a.png", None), ("b.png", None)]
        assert all("no room" in a.note for a in ask.attachments)
        await world.until_acknowledged(2)
        notices = world.slack.told("UADA")
        assert [name in notices[n] for n, name in enumerate(("a.png", "b.png"))] == [True, True]
        assert len(notices) == 2
        await nothing_more(world)


async def test_a_picture_alone_gets_a_notice_if_the_object_store_is_full() -> None:
    """Nothing is left to ask, and Slack does not deliver it again."""
    async with SlackWorld() as world:
        world.store_raises = BlobStoreFull()
        file = world.slack.file("a.png", "image/png", PNG)
        world.slack.dm("", files=[file], subtype="file_share")
        await world.until_acknowledged(1)
        assert "no room" in world.slack.told("UADA")[0]
        assert world.slack.deliveries[0].attempts == 1
        await nothing_more(world)


@pytest.mark.parametrize(
    ("error", "words"),
    [(OverQuota(), OVER_QUOTA), (StoreFull(), NOT_NOW), (TooLarge(2, 1), TOO_LONG)],
)
async def test_a_permanent_refusal_by_the_bus_causes_one_notice_per_event(
    error: Exception, words: str
) -> None:
    """Messages, edits, deletions, commands, presses and reactions are acknowledged."""
    async with SlackWorld() as world:
        ask, posted = await answered(world)
        thread = ask.address["thread_ts"]
        world.publish_raises = error
        world.slack.mention("too much", thread=thread)
        await world.until_acknowledged(4)
        assert world.slack.told("UADA") == [words]  # one notice for two deliveries of a message
        for text in ("!stop", "!reset"):
            world.slack.send(text, thread=thread)
        await world.until_acknowledged(6)
        world.slack.edit(ROOM, thread, f"<@{BOT}> more")
        world.slack.delete(ROOM, thread)
        world.slack.react(ROOM, posted, "+1")
        world.slack.press_stop(ROOM, thread)
        for label in ("Again", "Good answer"):
            assert (await world.slack.click(ROOM, posted, label)).acked_at
        await world.until_acknowledged(10)
        assert world.slack.told("UADA") == [words] * 9
        for command in ("/ask", "/reset"):
            assert (await world.slack.command(command, "x")).response == {"text": words}
        assert all(delivery.attempts == 1 for delivery in world.slack.deliveries)
        world.publish_raises = None
        assert len(world.heard) == 1
        await world.slack.until(lambda: not world.slack.status(ROOM, thread))


async def test_each_empty_mention_gets_one_notice() -> None:
    """Two mentions, with four events and their redeliveries, cause two notices."""
    async with SlackWorld() as world:
        for count in (1, 2):
            ts = world.slack.mention("")
            await world.until_acknowledged(2 * count)
            assert world.slack.told("UADA") == [EMPTY] * count
        await asyncio.gather(*map(world.slack.deliver, world.slack.events_of(ROOM, ts)))
        assert world.slack.told("UADA") == [EMPTY] * 2
        await nothing_more(world)


async def test_an_empty_mention_that_is_edited_becomes_a_question() -> None:
    """A further edit changes that question, even after a restart."""
    for restarted in (False, True):
        async with SlackWorld() as world:
            ts = world.slack.mention("")
            await world.until_acknowledged(2)
            if restarted:
                await world.restart()
            world.slack.edit(ROOM, ts, f"<@{BOT}> why?")
            (ask,) = await world.until_heard()
            assert (ask.kind, ask.id, getattr(ask, "text", "")) == ("ask", prompt(ROOM, ts), "why?")
            assert ask.address["ts"] == ts
            world.slack.edit(ROOM, ts, f"<@{BOT}> why not?")
            assert (await world.until_heard(2))[1].kind == "edited"
            await asyncio.gather(*map(world.slack.deliver, world.slack.events_of(ROOM, ts)))
            await nothing_more(world)


@pytest.mark.parametrize("error", [TooLarge(2, 1), OverQuota()])
async def test_an_edit_of_a_refused_question_asks_it(error: Exception) -> None:
    """A shorter text is asked; another text that is too long gets another notice."""
    async with SlackWorld() as world:
        world.publish_raises = error
        ts = world.slack.mention("far too long")
        await world.until_acknowledged(2)
        world.slack.edit(ROOM, ts, f"<@{BOT}> too long")
        await world.until_acknowledged(3)
        assert len(world.slack.told("UADA")) == 2
        world.publish_raises = None
        world.slack.edit(ROOM, ts, f"<@{BOT}> short")
        (ask,) = await world.until_heard()
        assert (ask.kind, ask.id, getattr(ask, "text", "")) == ("ask", prompt(ROOM, ts), "short")


async def test_a_question_that_is_edited_to_nothing_gets_a_notice() -> None:
    """The original question stays as it was asked."""
    async with SlackWorld() as world:
        ts = world.slack.mention("why?")
        await world.until_acknowledged(2)
        world.slack.edit(ROOM, ts, f"<@{BOT}>")
        await world.until_acknowledged(3)
        assert world.slack.told("UADA") == [EMPTY]
        await nothing_more(world)


async def test_a_refused_person_gets_one_notice_a_day_whatever_they_edit() -> None:
    """An edit changes nothing about the refusal."""
    async with SlackWorld() as world:
        ts = world.slack.mention("", user="UGUEST")
        await world.until_acknowledged(2)
        world.slack.edit(ROOM, ts, f"<@{BOT}> let me in")
        await world.until_acknowledged(3)
        assert len(world.slack.told("UGUEST")) == 1
        await nothing_more(world)


OUTCOMES: tuple[Outcome, ...] = ("answered", "failed", "stopped", "refused", "withdrawn")


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("direct", [True, False])
async def test_the_session_leaves_processing_after_again(
    outcome: Outcome, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds for every outcome, and even for a picture without text."""
    monkeypatch.setattr(working, "SHOWN_AFTER_S", 0.0)
    async with SlackWorld() as world:
        ask, posted = await answered(world, direct=direct)
        await world.slack.click(where(ask)[0], posted, "Again")
        again = (await world.until_heard(2))[1]
        await world.slack.until(lambda: world.slack.status(*where(ask)) == "processing")
        reply = answer(again, "no").model_copy(update={"outcome": outcome})
        if outcome == "withdrawn":
            await world.platform.withdraw(reply)
        else:
            await show(world, reply)
        await world.slack.until(lambda: not world.slack.status(*where(ask)))


async def test_the_session_leaves_processing_after_a_late_stop() -> None:
    """Somebody presses Slack's own Stop after the question was answered."""
    async with SlackWorld() as world:
        ask = await asked(world, direct=True)
        await show(world, answer(ask, "done"))
        world.slack.sessions[where(ask)] = "processing"
        world.slack.press_stop(*where(ask))
        await world.until_heard(2)
        await world.slack.until(lambda: not world.slack.status(*where(ask)))


async def test_an_unexpected_error_is_acknowledged_with_a_notice() -> None:
    """Otherwise Slack would deliver it again and again. The log does not contain its text."""
    async with SlackWorld() as world:
        world.publish_raises = KeyError("a secret")
        world.slack.dm("hello")
        await world.until_acknowledged(1)
        assert world.slack.deliveries[0].attempts == 1
        assert world.slack.told("UADA") == [NOT_UNDERSTOOD]
        world.slack.send("just talk", channel=ROOM)
        await world.until_acknowledged(2)
        assert len(world.slack.ephemerals) == 1
        world.publish_raises = None
