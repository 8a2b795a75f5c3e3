"""Two Slack adapters: what people press, edit and delete comes to the process that did not ask.

One of them has stored the question and shows its answer, and the other one gets the click.
"""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bots.slack.wording import ERASE, ERASING, NOT_NOW
from shared import names
from shared.bus import Bus
from tests.end_to_end.redundant import stored
from tests.end_to_end.slack_pair import SlackWorld
from tests.end_to_end.test_slack_processes import ANSWER_S, expected
from tests.fakes.slack import BOT, ROOM

LONG = "tell me everything"
"""Its answer grows for some seconds."""


@asynccontextmanager
async def growing(world: SlackWorld, channel: str) -> AsyncIterator[tuple[str, str]]:
    """A growing answer of process B, while A gets what people do. Yields its thread and its ts."""
    slack = world.slack
    world.model.pause_s = 0.5
    world.send_to(1)
    # For less than a second, so that nobody misses it: B shows the preview.
    world.pair.both[0].signal(signal.SIGSTOP)
    thread = slack.dm(LONG) if channel == "DADA" else slack.mention(LONG)
    await slack.until(lambda: "re:" in "".join(slack.thread(channel, thread)), seconds=ANSWER_S)
    world.pair.both[0].signal(signal.SIGCONT)
    world.send_to(0)
    yield thread, slack.bot_messages(channel, thread)[0]["ts"]
    world.model.pause_s = 0.0


async def happened(bus: Bus, kind: str) -> list[dict[str, Any]]:
    events = map(json.loads, await stored(bus, names.PROMPTS))
    return [event for event in events if event["kind"] == kind]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("slack_world", ["sockets"], indirect=True)
async def test_the_other_process_gets_what_people_do(slack_world: SlackWorld, bus: Bus) -> None:
    """Each click, edit and deletion does what it does with one process."""
    slack = slack_world.slack

    def finished(channel: str, thread: str) -> list[str]:
        """The answers in a thread, if all are complete and the bot is not working."""
        shown = slack.bot_messages(channel, thread)
        is_done = all("Again" in slack.buttons(channel, message["ts"]) for message in shown)
        return (
            slack.thread(channel, thread) if is_done and not slack.status(channel, thread) else []
        )

    async def until_answers(channel: str, thread: str, count: int) -> list[str]:
        await slack.until(lambda: len(finished(channel, thread)) == count, seconds=ANSWER_S)
        return slack.thread(channel, thread)

    # The button Stop.
    async with growing(slack_world, ROOM) as (thread, ts):
        assert (await slack.click(ROOM, ts, "Stop")).acked_at
        (stopped,) = await until_answers(ROOM, thread, 1)
        assert expected(LONG).startswith(f"{stopped} ")
    # Again, and a thumb down with its form, whose words come to the process that did not open it.
    assert (await slack.click(ROOM, ts, "Again")).acked_at
    assert await until_answers(ROOM, thread, 2) == [stopped, expected(LONG)]
    again = slack.bot_messages(ROOM, thread)[-1]["ts"]
    slack_world.send_to(1)
    await slack.click(ROOM, again, "Bad answer")
    await slack.until(lambda: slack.forms)
    slack_world.send_to(0)
    assert (await slack.submit(reason="too long")).acked_at
    assert [rate.get("reason", "") for rate in await happened(bus, "rate")] == ["", "too long"]
    # Slack's own Stop, of a native stream.
    async with growing(slack_world, "DADA") as (thread, ts):
        slack.press_stop("DADA", thread)
        (stopped,) = await until_answers("DADA", thread, 1)
        assert expected(LONG).startswith(f"{stopped} ")
    # A question that is edited while its answer grows, and one that is deleted.
    async with growing(slack_world, ROOM) as (thread, ts):
        delivered = len(slack.deliveries)
        slack.edit(ROOM, thread, f"<@{BOT}> tell me less")
        await slack.until(lambda: len(slack.deliveries) > delivered)
    assert await until_answers(ROOM, thread, 1) == [expected("tell me less")]
    assert [edit["text"] for edit in await happened(bus, "edited")] == ["tell me less"]
    async with growing(slack_world, ROOM) as (thread, ts):
        slack.delete(ROOM, thread)
        await slack.until(lambda: not slack.thread(ROOM, thread), seconds=ANSWER_S)
    # Whoever erases everything confirms it in the other process.
    asked = (await slack.command("/forget")).response
    ts = slack.new_ts()
    slack.messages[ROOM][ts] = {**asked, "user": BOT, "ts": ts}
    slack_world.send_to(1)
    assert (await slack.click(ROOM, ts, ERASE)).acked_at
    await slack.until(lambda: ERASING in slack.told("UADA"), seconds=ANSWER_S)
    assert len(await happened(bus, "forget")) == 1


@pytest.mark.parametrize("slack_world", ["sockets"], indirect=True)
async def test_what_slack_showed_as_failed_is_not_done_when_a_frozen_process_goes_on(
    slack_world: SlackWorld, bus: Bus
) -> None:
    """Its person has repeated it meanwhile, and the other process has answered."""
    slack, frozen = slack_world.slack, slack_world.pair.both[0]
    ts = slack.mention("hello")
    await slack.until(lambda: slack.bot_messages(ROOM, ts), seconds=ANSWER_S)
    shown = slack.bot_messages(ROOM, ts)[0]["ts"]
    await slack.until(lambda: "Again" in slack.buttons(ROOM, shown), seconds=ANSWER_S)
    slack_world.send_to(0)
    frozen.signal(signal.SIGSTOP)
    failed = await asyncio.gather(slack.command("/ask", "why?"), slack.click(ROOM, shown, "Again"))
    assert [one.acked_at for one in failed] == [None, None]
    slack_world.send_to(1)
    assert (await slack.command("/ask", "why?")).acked_at
    assert (await slack.click(ROOM, shown, "Again")).acked_at
    frozen.signal(signal.SIGCONT)
    # Nothing can be done about the command any more: Slack has said that it failed.
    await slack.until(
        lambda: [args["text"] for method, args in slack.calls if method == "response"]
    )
    assert [args["text"] for method, args in slack.calls if method == "response"] == [NOT_NOW]
    await slack.until(lambda: frozen.log.read_text().count("this process was frozen") == 2)
    assert [len(await happened(bus, kind)) for kind in ("ask", "again")] == [2, 1]
