"""Slack with real processes: NATS, dataflow and adapter as in production, with a fake workspace."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared import names
from shared.bus import Bus
from tests.fakes.model import FakeModel
from tests.fakes.model import Fault as ModelFault
from tests.fakes.slack import APP_TOKEN, BOT_TOKEN, ROOM, FakeSlack, Fault
from tests.running import Running, answer_to, dataflow, question

ROUNDS = 20
ANSWER_S = 40.0

PROGRAM = """
import sys
import bots.relay, shared.streams
shared.streams.ACK_WAIT_S = 2.0   # replies of a killed adapter are redelivered soon
bots.relay.WORKING_EVERY_S = 0.5
sys.argv = ["threadwax", "slack"]
from ops.cli import main
main()
"""


@dataclass
class World:
    """All processes; `adapter` can be killed and started at any time."""

    slack: FakeSlack
    model: FakeModel
    bus: Bus
    adapter: Running

    async def until_answered(self, channel: str, thread: str, text: str) -> None:
        """Waits until this text is the only visible answer of the thread."""
        try:
            await self.slack.until(
                lambda: self.slack.thread(channel, thread) == [text], seconds=ANSWER_S
            )
        except AssertionError as error:
            raise AssertionError(f"seen: {self.slack.thread(channel, thread)}; {error}") from None


def echo(request: dict[str, Any]) -> str:
    """The fake model's answer: repeats the question without quotes."""
    said = str(request["messages"][-1]["content"]).rpartition("</background>\n\n")[2]
    return f"re: {said} " + "and so on " * 12


def expected(text: str) -> str:
    return f"re: {text} {'and so on ' * 12}".rstrip()


@pytest.fixture
async def world(nats: Any, tmp_path: Path) -> AsyncIterator[World]:
    slack = await FakeSlack().start()
    slack.sockets.retries_s = (1.0, 4.0, 8.0, 16.0)
    model = FakeModel(reply=echo, piece_chars=12, pause_s=0.02)
    await model.start()
    flow = dataflow(tmp_path / "flow", nats.url, model.base_url).start()
    adapter = Running(
        "-c", PROGRAM, log=tmp_path / "slack.log",
        env={
            "NATS_URL": nats.url, "THREADWAX_HOME": str(tmp_path / "slack"),
            **slack.env, "PYTHONPATH": str(Path(__file__).parents[2]),
        },
    ).start()  # fmt: skip
    bus = await Bus.connect(nats.url, name="test")
    await flow.ready()
    await adapter.ready()
    try:
        yield World(slack, model, bus, adapter)
    finally:
        adapter.kill()
        flow.kill()
        await bus.close()
        await slack.stop()
        await model.stop()


async def test_one_mention_delivered_eight_times_is_answered_once(world: World) -> None:
    """Its two events are redelivered over two sockets. The log has no text and no token."""
    slack = world.slack
    ts = slack.mention("the secret word is xyzzy")
    events = slack.events_of(ROOM, ts)
    await asyncio.gather(*(slack.deliver(event) for event in events for _ in range(3)))
    await world.until_answered(ROOM, ts, expected("the secret word is xyzzy"))
    await asyncio.gather(*(slack.deliver(event) for event in events))
    follow_up = slack.send("and a follow-up", thread=ts)
    await slack.until(lambda: len(slack.thread(ROOM, ts)) == 2, seconds=ANSWER_S)
    assert slack.thread(ROOM, ts)[0] == expected("the secret word is xyzzy")
    assert follow_up in {d.payload["event"]["ts"] for d in slack.deliveries}
    assert len(world.model.requests) == 2
    assert all(sock.sent for sock in slack.sockets.live)
    log = world.adapter.log.read_text()
    assert '"kind":"ask"' in log
    for hidden in ("xyzzy", "and so on", BOT_TOKEN, APP_TOKEN):
        assert hidden not in log


async def test_direct_messages_stay_out_of_channels(world: World) -> None:
    """No request for a channel contains text from a direct message."""
    slack = world.slack
    thread = slack.dm("my PIN is 4711")
    await world.until_answered("DADA", thread, expected("my PIN is 4711"))
    ts = slack.mention("what is my PIN?")
    await world.until_answered(ROOM, ts, expected("what is my PIN?"))
    assert "4711" not in str(world.model.requests[-1])
    again = slack.dm("what is my PIN?")
    await slack.until(lambda: slack.thread("DADA", again), seconds=ANSWER_S)
    assert "4711" in str(world.model.requests[-1])


@pytest.mark.parametrize("kind", ["limit", "status", "hang", "lost"])
@pytest.mark.parametrize("direct", [True, False])
async def test_a_failing_slack_shows_one_answer(world: World, kind: str, direct: bool) -> None:
    """The first and last call fail with 429 or 500, hang, or succeed but lose their response."""
    slack = world.slack
    fault = Fault(kind, retry_after_s=2)
    first, last = ("chat.startStream", "chat.stopStream") if direct else (
        "chat.postMessage", "chat.update",
    )  # fmt: skip
    for method in (first, last):
        slack.faults[method].append(fault)
        text = f"{kind} at {method}"
        ts = slack.dm(text) if direct else slack.mention(text)
        channel = "DADA" if direct else ROOM
        await world.until_answered(channel, ts, expected(text))
        await slack.until(lambda: not slack.status(channel, ts), seconds=ANSWER_S)  # noqa: B023


async def test_questions_are_answered_after_the_adapter_was_down_for_ten_seconds(
    world: World,
) -> None:
    """Slack redelivers them, and each is answered once. Others are answered meanwhile."""
    slack = world.slack
    await world.adapter.stop()
    asked = [slack.mention(f"while away {n}", user=("UADA", "UBOB", "UCARL")[n]) for n in range(3)]
    down_until = time.monotonic() + 10
    number = 0
    while time.monotonic() < down_until:
        number += 1
        reply = await answer_to(world.bus, question("terminal", number, f"still there {number}?"))
        assert reply.outcome == "answered"
        await asyncio.sleep(0.5)
    assert number >= 5
    assert all(slack.thread(ROOM, ts) == [] for ts in asked)
    world.adapter.log.write_text("")
    await world.adapter.start().ready()
    for n, ts in enumerate(asked):
        await world.until_answered(ROOM, ts, expected(f"while away {n}"))


@pytest.mark.timeout(400)
async def test_after_kills_between_post_and_acknowledgement_each_answer_is_shown_once(
    world: World,
) -> None:
    """20 seeded rounds of `kill -9` happen at calls that show an answer."""
    slack, rng = world.slack, random.Random(4)
    world.model.pause_s = 0.2  # time for a second partial
    asked: list[tuple[str, str, str]] = []
    for number in range(ROUNDS):
        direct = rng.random() < 0.5
        method = rng.choice(
            ["chat.startStream", "chat.appendStream", "chat.stopStream"] if direct
            else ["chat.postMessage", "chat.update"]
        )  # fmt: skip
        phase = rng.choice(["before", "after", "after"])
        killed = asyncio.Event()

        def hook(called: str, when: str, *, wanted: tuple[str, str] = (method, phase),
                 done: asyncio.Event = killed) -> None:  # fmt: skip
            if (called, when) == wanted and not done.is_set():
                world.adapter.kill()
                done.set()

        slack.hook = hook
        text = f"round {number}"
        ts = slack.dm(text) if direct else slack.mention(text)
        asked.append(("DADA" if direct else ROOM, ts, text))
        async with asyncio.timeout(ANSWER_S):
            await killed.wait()
        world.adapter.log.write_text("")
        await world.adapter.start().ready()
        await world.until_answered(*asked[-1][:2], expected(text))
    await asyncio.sleep(3)  # a second post would come with the redelivery after 2 s
    wrong = [(c, t, slack.thread(c, t)) for c, t, x in asked if slack.thread(c, t) != [expected(x)]]
    assert wrong == []
    assert all(slack.status(channel, ts) == "" for channel, ts, _ in asked)
    print(f"{ROUNDS} kills, {len(world.model.requests)} model calls")  # noqa: T201
    assert len(world.model.requests) == ROUNDS


async def test_a_hundred_mentions_in_a_second_are_answered_once_each(world: World) -> None:
    """Also those that Slack delivers again because this machine was too slow."""
    slack = world.slack
    world.model.piece_chars, world.model.pause_s = 1 << 20, 0
    for number in range(100):
        slack.users[f"U{number:03d}"] = {"id": f"U{number:03d}", "team_id": "T1", "profile": {}}
    asked = []
    for number in range(100):
        asked.append((number, slack.mention(f"n{number}", user=f"U{number:03d}")))
        await asyncio.sleep(0.009)
    await slack.until(lambda: len(slack.deliveries) == 200, seconds=ANSWER_S)
    for number, ts in asked:
        await world.until_answered(ROOM, ts, expected(f"n{number}"))
    await slack.until(lambda: all(d.done.is_set() for d in slack.deliveries), seconds=ANSWER_S)
    for stream in (names.PROMPTS, names.REPLIES):
        assert (await world.bus.js.stream_info(stream)).state.messages == 100
    for number, ts in asked:
        assert slack.thread(ROOM, ts) == [expected(f"n{number}")]


async def test_a_picture_reaches_the_model(world: World) -> None:
    """The picture goes from Slack to the stream of files, and from there into the request."""
    slack = world.slack
    pixel = b"\x89PNG\r\n\x1a\n" + b"\x00" * 1_000_000
    world.model.reply = lambda _: "A cat."
    file = slack.file("cat.png", "image/png", pixel)
    thread = slack.dm("what is this?", files=[file], subtype="file_share")
    await world.until_answered("DADA", thread, "A cat.")
    content = world.model.requests[-1]["messages"][-1]["content"]
    assert content[-1]["image_url"]["url"].startswith("data:image/png;base64,")
    assert len(content[-1]["image_url"]["url"]) > 1_300_000


async def test_a_permanent_model_failure_leads_to_one_plain_notice(world: World) -> None:
    """The notice appears in the same place, without a status line or a partial answer."""
    slack = world.slack
    world.model.always = ModelFault(status=400)
    for direct in (True, False):
        ts = slack.dm("hello") if direct else slack.mention("hello")
        channel = "DADA" if direct else ROOM
        await slack.until(lambda: slack.thread(channel, ts), seconds=ANSWER_S)  # noqa: B023
        await slack.until(lambda: not slack.status(channel, ts), seconds=ANSWER_S)  # noqa: B023
        (notice,) = slack.thread(channel, ts)
        assert "as ordered" not in notice
        assert slack.buttons(channel, slack.bot_messages(channel, ts)[0]["ts"]) == []


async def test_stop_and_again_work_through_the_whole_system(world: World) -> None:
    """Stop keeps the text so far; Again asks the model again in the same thread."""
    slack = world.slack
    world.model.reply = lambda _: "word " * 400
    world.model.piece_chars, world.model.pause_s = 5, 0.05
    ts = slack.mention("talk")
    await slack.until(lambda: slack.thread(ROOM, ts), seconds=ANSWER_S)
    message = slack.bot_messages(ROOM, ts)[0]["ts"]
    await slack.click(ROOM, message, "Stop")
    await slack.until(lambda: "Again" in slack.buttons(ROOM, message), seconds=ANSWER_S)
    (stopped,) = slack.thread(ROOM, ts)
    assert stopped.startswith("word")
    assert len(stopped) < 1500
    world.model.reply = lambda _: "Short."
    await slack.click(ROOM, message, "Again")
    await slack.until(lambda: slack.thread(ROOM, ts) == [stopped, "Short."], seconds=ANSWER_S)
