"""A slow answer ends as a new message, because an edit notifies nobody."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bots.platform import Later, Part
from bots.replace_preview import is_replaced
from shared.messages import AnyEvent
from shared.replies import Outcome
from tests.contract.test_slack_answers import FINAL_BUTTONS, Growing, asked, seen, show, where
from tests.contract.worlds.slack import SlackWorld
from tests.contract.worlds.world import answer
from tests.fakes.slack import FakeSlack, Fault

LONG_S = 300.0


def slack_behind(seconds: float) -> FakeSlack:
    """A Slack whose time stamps are this many seconds old."""
    slack = FakeSlack()
    slack.behind_s = seconds
    return slack


@asynccontextmanager
async def waited(
    *, direct: bool, long_s: float = LONG_S, **settings: str
) -> AsyncIterator[tuple[SlackWorld, AnyEvent, str]]:
    """Asks a question and shows its preview for a while; returns the preview's ts."""
    async with SlackWorld(slack=slack_behind(long_s), **settings) as world:
        ask = await asked(world, direct=direct)
        await Growing(world, ask).to("One ")
        world.slack.behind_s = 0.0
        began_s = world.platform._posting._previews[ask.id].began_s
        assert began_s is not None
        world.platform._posting._previews[ask.id].began_s = began_s - long_s
        (preview,) = world.slack.bot_messages(*where(ask))
        yield world, ask, preview["ts"]


@pytest.mark.parametrize("direct", [True, False])
async def test_a_long_answer_ends_as_a_new_message(direct: bool) -> None:
    """A stream or an edited message is replaced by one complete message with buttons."""
    async with waited(direct=direct) as (world, ask, before):
        (receipt,) = await show(world, answer(ask, "One two."))
        assert seen(world, ask) == ["One two."]
        (message,) = world.slack.bot_messages(*where(ask))
        assert message["ts"] != before
        assert receipt == f"{where(ask)[0]}/{message['ts']}"
        assert world.slack.buttons(where(ask)[0], message["ts"]) == FINAL_BUTTONS
        await world.platform._working.settled()
        assert not world.slack.status(*where(ask))


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize(
    ("after_s", "long_s", "outcome", "text"),
    [
        ("60", 1.0, "answered", "One two."),
        ("0", LONG_S, "answered", "One two."),
        ("600", LONG_S, "answered", "One two."),
        ("60", LONG_S, "stopped", "One two."),
        ("60", LONG_S, "answered", "One two. " * 1_000),
    ],
)
async def test_other_answers_end_in_their_preview(
    direct: bool, after_s: str, long_s: float, outcome: Outcome, text: str
) -> None:
    """This holds for short waits, the setting 0 and Stop. Later parts are new messages anyway."""
    async with waited(direct=direct, long_s=long_s, SLACK_NEW_MESSAGE_AFTER_S=after_s) as (
        world,
        ask,
        before,
    ):
        reply = answer(ask, text).model_copy(update={"outcome": outcome})
        await show(world, reply)
        assert " ".join(seen(world, ask)).split() == text.split()
        assert world.slack.bot_messages(*where(ask))[0]["ts"] == before


CALLS = ("chat.stopStream", "chat.delete", "chat.postMessage")


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("kind", ["lost", "status", "limit"])
@pytest.mark.parametrize("crashes", [True, False])
async def test_there_are_never_two_answers(
    direct: bool, method: str, kind: str, crashes: bool
) -> None:
    """Any call may fail, with or without effect, and the process may crash."""
    async with waited(direct=direct) as (world, ask, _):
        most = 0

        def look(_: str, __: str) -> None:
            nonlocal most
            most = max(most, len(seen(world, ask)))

        world.slack.hook = look
        world.slack.faults[method].append(Fault(kind))
        done = answer(ask, "One two.")
        part = Part(done, done.text, 0, 1)
        receipt = None
        for _ in range(4):
            try:
                receipt = await world.platform.post(part)
                break
            except Later as error:
                if crashes:
                    await world.restart()
                if crashes or error.maybe_posted:
                    receipt = await world.platform.find_posted(part)
            if receipt is not None:
                break
        assert seen(world, ask) == ["One two."]
        (message,) = world.slack.bot_messages(*where(ask))
        assert receipt == f"{where(ask)[0]}/{message['ts']}"
        assert most == 1


@pytest.mark.parametrize("direct", [True, False])
async def test_a_preview_that_slack_does_not_delete_becomes_the_answer(direct: bool) -> None:
    """Two answers would be worse than a missing notification."""
    async with waited(direct=direct) as (world, ask, before):
        world.slack.always["chat.delete"] = Fault("error", code="cant_delete_message")
        await show(world, answer(ask, "One two."))
        assert seen(world, ask) == ["One two."]
        assert world.slack.bot_messages(*where(ask))[0]["ts"] == before


@pytest.mark.parametrize("direct", [True, False])
async def test_a_preview_of_an_earlier_process_is_replaced(direct: bool) -> None:
    """The person has waited even longer."""
    async with waited(direct=direct) as (world, ask, before):
        await world.restart()
        done = answer(ask, "One two.")
        part = Part(done, done.text, 0, 1)
        assert await world.platform.find_posted(part) is None
        await world.platform.post(part)
        (message,) = world.slack.bot_messages(*where(ask))
        assert message["ts"] != before
        assert seen(world, ask) == ["One two."]


async def test_a_wrong_clock_does_not_make_an_answer_look_slow() -> None:
    """Slack's clock and ours can differ by some minutes."""
    async with SlackWorld(slack=slack_behind(LONG_S)) as world:
        ask = await asked(world)
        await Growing(world, ask).to("One ")
        (preview,) = world.slack.bot_messages(*where(ask))
        await show(world, answer(ask, "One two."))
        assert [m["ts"] for m in world.slack.bot_messages(*where(ask))] == [preview["ts"]]


async def test_a_preview_is_replaced_after_the_given_time() -> None:
    """The preview of an answer with one part is replaced at this age or later, and never with 0."""
    async with waited(direct=False) as (_, ask, __):
        part = Part(answer(ask, "x"), "x", 0, 1)
        assert [is_replaced(part, shown_for_s=s, after_s=60) for s in (59.9, 60)] == [False, True]
        assert not is_replaced(part, shown_for_s=1e9, after_s=0)
        assert not is_replaced(Part(part.reply, "x", 0, 2), shown_for_s=1e9, after_s=60)
        assert not is_replaced(Part(part.reply, "x", 1, 2), shown_for_s=1e9, after_s=60)
