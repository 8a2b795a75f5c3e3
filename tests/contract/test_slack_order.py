"""A person's events in Slack are stored once and in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bots.slack import deliveries, socket_mode
from bots.slack.wording import NOT_NOW, SAVED, STILL_SAVING
from shared.messages import AnyEvent, Ask
from tests.contract.worlds.slack import SlackWorld
from tests.contract.worlds.world import answer
from tests.fakes.slack import ROOM, FakeSlack

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 100


def kinds(world: SlackWorld) -> list[str]:
    return [event.kind for event in world.heard]


@asynccontextmanager
async def picture_in_progress(world: SlackWorld) -> AsyncIterator[str]:
    """Ada asks about a picture, which Slack sends after the `with` block. Yields the ts."""
    world.slack.hold_files()
    file = world.slack.file("a.png", "image/png", PNG)
    ts = world.slack.mention("what is this?", files=[file], subtype="file_share")
    await world.slack.until(lambda: world.slack.files_asked_for > 0)
    assert world.heard == []
    try:
        yield ts
        assert world.heard == []
    finally:
        world.slack.release_files()


async def test_a_question_waits_for_an_earlier_one_with_a_picture() -> None:
    """Loading the picture takes time. The second question is a follow-up in the same thread."""
    async with SlackWorld() as world:
        async with picture_in_progress(world) as ts:
            second = world.slack.send("and when?", thread=ts)
        one, two = await world.until_heard(2)
        assert (one.address["ts"], two.address["ts"]) == (ts, second)
        assert isinstance(one, Ask)
        assert one.attachments[0].blob is not None


@pytest.mark.parametrize("what", ["edit", "delete"])
async def test_a_change_waits_until_the_files_of_its_question_are_stored(what: str) -> None:
    """Otherwise the change would refer to a question that is not stored yet."""
    async with SlackWorld() as world:
        async with picture_in_progress(world) as ts:
            if what == "edit":
                world.slack.edit(ROOM, ts, "<@UBOT> what is that?")
            else:
                world.slack.delete(ROOM, ts)
        await world.until_heard(2)
        assert kinds(world) == ["ask", {"edit": "edited", "delete": "deleted"}[what]]
        assert world.heard[1].prompt_id == world.heard[0].id  # type: ignore[union-attr]


async def test_everything_that_one_person_does_stays_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """This holds for messages, Slack's Stop, buttons and reactions; other people do not wait."""
    monkeypatch.setattr(
        socket_mode, "CONNECTIONS", 1
    )  # events on two connections can overtake each other
    async with SlackWorld() as world:
        world.slack.mention("first")
        asked = (await world.until_heard())[0]
        posted = (await world.platform.post(_part(asked))).partition("/")[2]
        world.heard.clear()
        async with picture_in_progress(world) as ts:
            world.slack.send("!stop", thread=ts)
            world.slack.press_stop(ROOM, ts)
            click = asyncio.create_task(world.slack.click(ROOM, posted, "Good answer"))
            await asyncio.sleep(0)
            world.slack.react(ROOM, posted, "-1")
            world.slack.mention("me too", user="UBOB")
            await world.until_heard(1)
            assert [event.user for event in world.heard] == ["slack:T1-UBOB"]
            world.heard.clear()
        await world.until_heard(5)
        await click
        assert kinds(world) == ["ask", "stop", "stop", "rate", "rate"]


def _part(ask: AnyEvent) -> object:
    from bots.platform import Part  # noqa: PLC0415

    return Part(answer(ask, "An answer."), "An answer.", 0, 1)


async def test_redeliveries_of_running_and_waiting_events_are_stored_once() -> None:
    """Slack's timeout passes for both, so it delivers them again. Each is stored once, in order."""
    async with SlackWorld() as world:
        world.slack.sockets.ack_s = 0.2
        world.slack.sockets.retries_s = (0.05, 0.2, 0.4, 0.8, 1.6)
        async with picture_in_progress(world) as ts:
            second = world.slack.send("and when?", thread=ts)
            await world.slack.until(lambda: world.slack.sockets.redelivered >= 6)
        await world.until_heard(2)
        await world.slack.until(lambda: len(world.slack.deliveries) == 3)
        assert [event.address["ts"] for event in world.heard] == [ts, second]
        assert all(delivery.acked_at for delivery in world.slack.deliveries)
        assert world.slack.files_asked_for == 1


async def test_a_command_that_would_wait_too_long_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After 3 s Slack shows an error, so the command must not be stored later."""
    monkeypatch.setattr(deliveries, "COMMAND_WAITS_S", 0.1)
    async with SlackWorld() as world:
        async with picture_in_progress(world):
            refused = await world.slack.command("/ask", "and?")
            assert refused.response == {"text": NOT_NOW}
        await world.until_heard(1)
        assert (await world.slack.command("/ask", "and?")).response["text"] == ""
        assert kinds(world) == ["ask", "ask"]


async def test_a_command_during_an_election_is_announced_and_stored_in_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its person is told that it is being saved, then that it is; a later message comes after."""
    monkeypatch.setattr(deliveries, "COMMAND_WAITS_S", 0.1)
    async with SlackWorld() as world:
        world.stores.clear()
        asked = await world.slack.command("/ask", "now?")
        assert asked.response == {"text": STILL_SAVING}
        world.slack.mention("and then?")
        assert world.heard == []
        world.stores.set()
        first, second = await world.until_heard(2)
        assert isinstance(first, Ask)
        assert isinstance(second, Ask)
        assert (first.text, second.text) == ("now?", "and then?")
        await world.slack.until(lambda: "response" in [method for method, _ in world.slack.calls])
        (late,) = [args for method, args in world.slack.calls if method == "response"]
        assert (late["text"], late["response_type"]) == (SAVED, "ephemeral")


async def test_a_deletion_counts_even_if_it_overtakes_its_question() -> None:
    """The bus did not store the question, and its redelivery is not asked."""
    async with SlackWorld() as world:
        world.slack.sockets.ack_s = 0.3
        world.slack.sockets.retries_s = (1.0,)
        world.unavailable = 1
        ts = world.slack.dm("wrong window")
        await world.slack.until(lambda: not world.unavailable)
        world.slack.delete("DADA", ts)
        await world.until_heard(1)
        await world.until_acknowledged(2)
        assert kinds(world) == ["deleted"]


async def test_an_edit_of_a_question_that_was_not_stored_asks_it() -> None:
    """The question is asked once, with the new text."""
    async with SlackWorld() as world:
        world.slack.sockets.ack_s = 0.3
        world.slack.sockets.retries_s = (1.0,)
        world.unavailable = 1
        ts = world.slack.dm("waht?")
        await world.slack.until(lambda: not world.unavailable)
        world.slack.edit("DADA", ts, "what?")
        await world.until_acknowledged(2)
        assert [(event.kind, getattr(event, "text", "")) for event in world.heard] == [
            ("ask", "what?")
        ]


async def test_the_process_stores_queued_events_before_it_stops() -> None:
    """They are stored and acknowledged before the connections are closed."""
    slack = FakeSlack()
    async with SlackWorld(slack=slack) as world:
        async with picture_in_progress(world) as ts:
            slack.send("and when?", thread=ts)
            closing = asyncio.create_task(world.platform.close())
        await closing
        await world.until_heard(2)
        await slack.until(lambda: len(slack.deliveries) == 3)
        assert all(delivery.acked_at for delivery in slack.deliveries)
