"""Dead letters are replayed by the dataflow when an operator asks for it."""

import json
from pathlib import Path

import pytest
from nats.js.errors import NotFoundError

from bots.platform import Gone
from dataflow.dead_letters import (
    DAMAGED,
    GONE,
    NOTHING_TO_SHOW,
    OUT_OF_DATE,
    PARTLY_SHOWN,
    REPLAYED,
    SHOWN_AGAIN,
    UNREADABLE,
    DeadLetterService,
)
from ops.nats_server import NatsServer
from shared import names
from shared.bus import Bus
from shared.dead_letters import NO_ANSWER, NOBODY_WAITS, NOT_OURS, Outcome, replay
from shared.replies import Usage
from tests.fakes.model import FakeModel
from tests.fakes.platform import FakePlatform
from tests.integration.test_relay import relaying, reply
from tests.running import dataflow, question


async def buried(bus: Bus, subject: str, data: bytes) -> int:
    return (await bus.js.publish(names.dead_letter_subject(subject), data)).seq


async def is_there(bus: Bus, number: int) -> bool:
    try:
        await bus.js.get_msg(names.DLQ, number)
    except NotFoundError:
        return False
    return True


async def test_what_can_be_read_now_is_answered_and_the_rest_stays(
    nats: NatsServer, bus: Bus, fake_model: FakeModel, tmp_path: Path
) -> None:
    assert (await replay(bus, 1)).text == NO_ANSWER
    flow = dataflow(tmp_path / "flow", nats.url, fake_model.base_url).start()
    await flow.ready()
    try:
        asked = question("ada", 1, "hello")
        subject = f"p.3.{asked.user.replace(':', '.')}"
        # As a version that could not read it has left it, with a refusal under its id.
        readable = await buried(bus, subject, asked.wire())
        unreadable = await buried(bus, subject, b'{"v": 99, "id": "test-x"}')
        cut = await buried(bus, subject, asked.wire()[:40])

        assert await replay(bus, readable) == REPLAYED
        again = f"{asked.id}-replay-{readable}"
        found = await bus.reply_when_stored(asked.user, again, timeout_s=30)
        assert found is not None
        assert found.outcome == "answered"
        assert await replay(bus, readable) == GONE

        assert await replay(bus, unreadable) == REPLAYED
        stored = await bus.js.get_last_msg(names.PROMPTS, names.stored_prompts_of(asked.user))
        assert json.loads(stored.data or b"")["id"] == f"test-x-replay-{unreadable}"
        assert await replay(bus, cut) == DAMAGED
        assert await replay(bus, 10**9) == GONE
        assert await is_there(bus, cut)
        assert not await is_there(bus, readable)
    finally:
        flow.kill()


async def test_a_second_replay_after_a_crash_stores_nothing_new(bus: Bus) -> None:
    """The dataflow dies after it has stored the event, and before it removes the dead letter."""
    await DeadLetterService(bus).start()
    asked = question("ada", 1, "hello")
    subject = f"p.3.{asked.user.replace(':', '.')}"
    number = await buried(bus, subject, asked.wire())
    event = json.loads(asked.wire()) | {"id": f"{asked.id}-replay-{number}"}
    headers = {"Nats-Msg-Id": event["id"]}
    await bus.js.publish(
        names.prompt_subject(asked.user), json.dumps(event).encode(), headers=headers
    )
    assert await replay(bus, number) == REPLAYED
    assert (await bus.js.stream_info(names.PROMPTS)).state.messages == 1

    # The same with an answer; and a replay of what was replayed keeps its id short.
    first = reply("ada", 1, "forty-two")
    letter = await buried(bus, f"replies.test.ada.{first.prompt_id}-replay-3", first.model_copy(
        update={"prompt_id": f"{first.prompt_id}-replay-3"}).wire())  # fmt: skip
    await bus.journal(first.model_copy(update={"prompt_id": f"{first.prompt_id}-replay-{letter}"}))
    assert await replay(bus, letter) == SHOWN_AGAIN
    assert (await bus.js.stream_info(names.REPLIES)).state.messages == 1


async def test_an_answer_that_a_platform_refused_is_shown_once_it_takes_it(bus: Bus) -> None:
    await DeadLetterService(bus).start()
    platform = FakePlatform()
    refused = reply("ada", 1, "forty-two")
    platform.always[f"{refused.prompt_id}.0"] = Gone("the channel is archived")
    async with relaying(bus, platform):
        await bus.journal(refused)
        while not (await bus.js.stream_info(names.DLQ)).state.messages:
            await bus.client.flush()
        assert platform.posts == []
        assert await replay(bus, 1) == SHOWN_AGAIN
        assert await replay(bus, 1) == GONE
        while not platform.posts:
            await platform.changed.wait()
            platform.changed.clear()
    assert [(part.reply.prompt_id, part.text) for part in platform.posts] == [
        (f"{refused.prompt_id}-replay-1", "forty-two")
    ]


async def test_an_answer_of_which_a_part_is_visible_is_not_shown_again(bus: Bus) -> None:
    await DeadLetterService(bus).start()
    platform = FakePlatform(text_limit_chars=20)
    long = reply("ada", 1, "one two three four. " * 3)
    platform.always[f"{long.prompt_id}.1"] = Gone("the channel is archived")
    async with relaying(bus, platform):
        await bus.journal(long)
        while not (await bus.js.stream_info(names.DLQ)).state.messages:
            await bus.client.flush()
    assert len(platform.posts) == 1
    assert await replay(bus, 1) == PARTLY_SHOWN
    assert await is_there(bus, 1)


def _reply_bytes(**changes: object) -> bytes:
    return reply("ada", 1, "forty-two").model_copy(update=changes).wire()


@pytest.mark.parametrize(
    ("subject", "data", "text"),
    [
        ("prompts", b"hello", NOBODY_WAITS),
        ("replies.gateway.ada.x", b"{}", NOBODY_WAITS),
        ("something.else", b"{}", NOT_OURS),
        ("replies.test.ada.ada-1", b"{}", UNREADABLE.text),
        ("replies.test.bob.ada-1", _reply_bytes(), DAMAGED.text),
        ("replies.test.ada.ada-1", _reply_bytes(outcome="withdrawn"), NOTHING_TO_SHOW.text),
        ("replies.test.ada.ada-1", _reply_bytes(text=" "), NOTHING_TO_SHOW.text),
        ("p.3.test.ada", b'{"kind": "stop", "id": "x"}', OUT_OF_DATE.text),
        ("p.3.test.ada", b'{"kind": "configure", "id": "x"}', OUT_OF_DATE.text),
        ("p.3.test.ada", b"[1]", DAMAGED.text),
    ],
)
async def test_what_cannot_be_replayed_is_refused_with_a_reason(
    bus: Bus, subject: str, data: bytes, text: str
) -> None:
    """It stays where it is, and nothing is stored."""
    await DeadLetterService(bus).start()
    number = await buried(bus, subject, data)
    refused = await replay(bus, number)
    assert (refused.outcome, refused.text) == (Outcome.REFUSED, text)
    assert await is_there(bus, number)
    for stream in (names.PROMPTS, names.REPLIES):
        assert (await bus.js.stream_info(stream)).state.messages == 0


async def test_a_replayed_answer_does_not_count_what_it_cost_again(bus: Bus) -> None:
    await DeadLetterService(bus).start()
    first = reply("ada", 1, "forty-two", usage=Usage(prompt_tokens=7))
    number = await buried(bus, names.reply_subject(first.user, first.prompt_id), first.wire())
    assert await replay(bus, number) == SHOWN_AGAIN
    again = await bus.stored_reply(first.user, f"{first.prompt_id}-replay-{number}")
    assert again is not None
    assert again.reply.usage is None
    assert again.reply.text == first.text
