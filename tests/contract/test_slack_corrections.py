"""The form after a thumb down in Slack: the real client and the fake Slack."""

from typing import Any

from bots.slack.wording import NOT_NOW
from shared.connection import Unavailable
from shared.messages import Rate
from tests.contract.test_slack_answers import answered
from tests.contract.worlds.slack import SlackWorld
from tests.fakes.slack import ROOM

BAD = "Bad answer"


def rates(world: SlackWorld) -> list[Rate]:
    return [event for event in world.heard if isinstance(event, Rate)]


async def test_a_thumb_down_opens_a_form_that_outlives_a_restart() -> None:
    """The thumb is stored at once. The words come as another rating of the same answer."""
    async with SlackWorld() as world:
        ask, ts = await answered(world)
        await world.slack.click(ROOM, ts, BAD)
        assert [(rate.thumb, rate.reason) for rate in rates(world)] == [("down", "")]
        await world.restart()
        sent = await world.slack.submit(reason=" too short ", correction="Longer\nwords.")
        assert sent.acked_at is not None
        assert world.slack.forms == {}
        thumb, words = rates(world)
        assert (words.thumb, words.reason, words.correction) == (
            "down", "too short", "Longer\nwords.",
        )  # fmt: skip
        assert (words.prompt_id, words.user, words.place) == (ask.id, ask.user, ask.place)
        assert words.id != thumb.id


async def test_the_same_words_have_the_same_id() -> None:
    """A form that is sent again after a lost response stores nothing twice, and loses no change."""
    async with SlackWorld() as world:
        _, ts = await answered(world)
        await world.slack.click(ROOM, ts, BAD)
        form: dict[str, Any] = dict(world.slack.forms)
        for words in ("wrong", "wrong", "quite wrong"):
            world.slack.forms = dict(form)
            await world.slack.submit(reason=words)
        assert [rate.reason for rate in rates(world)] == ["", "wrong", "quite wrong"]


async def test_an_empty_or_closed_form_changes_nothing() -> None:
    """No form opens after a thumb up, nor for people who did not ask."""
    async with SlackWorld() as world:
        _, ts = await answered(world)
        await world.slack.click(ROOM, ts, "Good answer")
        await world.slack.click(ROOM, ts, BAD, user="UBOB")
        assert world.slack.forms == {}
        await world.slack.click(ROOM, ts, BAD)
        await world.slack.submit(reason="  ")
        assert [rate.thumb for rate in rates(world)] == ["up", "down"]


async def test_a_form_that_cannot_be_stored_stays_open() -> None:
    async with SlackWorld() as world:
        _, ts = await answered(world)
        await world.slack.click(ROOM, ts, BAD)
        world.publish_raises = Unavailable("down")
        sent = await world.slack.submit(correction="Longer words.")
        assert sent.response["errors"] == {"correction": NOT_NOW}
        assert "UADA" in world.slack.forms
        world.publish_raises = None
        await world.slack.submit(correction="Longer words.")
        assert rates(world)[-1].correction == "Longer words."


async def test_a_late_thumb_is_stored_without_a_form() -> None:
    """Slack opens no form more than 3 s after the click."""
    async with SlackWorld() as world:
        _, ts = await answered(world)
        world.slack.triggers_last_s = -1.0
        delivery = await world.slack.click(ROOM, ts, BAD)
        assert delivery.acked_at is not None
        assert world.slack.forms == {}
        assert [rate.thumb for rate in rates(world)] == ["down"]
