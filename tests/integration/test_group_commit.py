"""Many messages at once with a real server: each is stored once and in order, or refused alone."""

import asyncio
import json
import random

import nats.errors
import nats.js.errors
import pytest
from nats.aio.msg import Msg

from ops.nats_server import NatsServer
from shared import names
from shared.bus import Bus
from shared.connection import Unavailable
from shared.group_commit import (
    BATCH_COMMIT,
    BATCH_FROM,
    BATCH_ID,
    BATCH_MESSAGES,
    BATCH_SEQUENCE,
    BATCHES_AT_ONCE,
    SINGLES_LIMIT,
    GroupCommit,
)
from shared.messages import Ask
from shared.replies import Reply
from tests.fakes.tcp_proxy import TcpProxy, Way
from tests.running import direct, question

MANY = 600


def asks(count: int, name: str = "ada") -> list[Ask]:
    return [question(name, number, f"question {number}") for number in range(count)]


def reply_to(ask: Ask, text: str) -> Reply:
    return Reply(
        prompt_id=ask.id, user=ask.user, place=direct("ada"), outcome="answered", text=text,
        said_at=ask.said_at, answered_at=ask.said_at,
    )  # fmt: skip


async def publish_all(bus: Bus, events: list[Ask], *, patience_s: float = 60.0) -> list[bool]:
    return await asyncio.gather(*(bus.publish(event, patience_s=patience_s) for event in events))


async def stored(bus: Bus, stream: str = names.PROMPTS) -> list[Msg]:
    """All messages of a stream, in order."""
    last = (await bus.js.stream_info(stream)).state.last_seq
    return [
        await bus.js.get_msg(stream, sequence)  # type: ignore[misc]
        for sequence in range(1, last + 1)
    ]


async def ids_stored(bus: Bus) -> list[str]:
    return [json.loads(message.data)["id"] for message in await stored(bus)]


async def test_many_messages_at_once_are_stored_in_order_and_mostly_in_batches(bus: Bus) -> None:
    """The messages of a batch share one sync of the disk."""
    events = asks(MANY)
    assert all(await publish_all(bus, events))
    messages = await stored(bus)
    assert [json.loads(m.data)["id"] for m in messages] == [event.id for event in events]
    batched = [m for m in messages if BATCH_ID in (m.headers or {})]
    assert len(batched) >= MANY - SINGLES_LIMIT - BATCH_FROM
    assert all((m.headers or {})["Nats-Msg-Id"] for m in messages)


async def test_a_few_messages_are_sent_one_by_one(bus: Bus) -> None:
    """For a few, a batch costs more than it saves."""
    await publish_all(bus, asks(SINGLES_LIMIT + BATCH_FROM - 1))
    assert not [m for m in await stored(bus) if BATCH_ID in (m.headers or {})]


async def test_repeats_in_a_batch_do_not_prevent_the_others_from_being_stored(bus: Bus) -> None:
    """The server refuses a whole batch that contains a repeat."""
    events = asks(MANY)
    before = events[100:103]
    await publish_all(bus, before)
    new = await publish_all(bus, events)
    assert [event for event, is_new in zip(events, new, strict=True) if not is_new] == before
    assert sorted(await ids_stored(bus)) == sorted(event.id for event in events)


async def test_an_event_that_is_repeated_at_the_same_moment_is_stored_once(bus: Bus) -> None:
    events = asks(100)
    new = await publish_all(bus, events * 4)
    assert sum(new) == len(events)
    assert sorted(await ids_stored(bus)) == sorted(event.id for event in events)


async def test_the_first_reply_is_kept_among_many(bus: Bus) -> None:
    events = asks(200)
    first = await bus.journal(reply_to(events[150], "first"))
    journaled = await asyncio.gather(*(bus.journal(reply_to(event, "second")) for event in events))
    assert journaled[150] == first
    assert {kept.reply.text for kept in journaled if kept is not journaled[150]} == {"second"}
    replies = [Reply.model_validate_json(m.data or b"") for m in await stored(bus, names.REPLIES)]
    assert sorted(r.prompt_id for r in replies) == sorted(event.id for event in events)


async def test_two_dataflows_that_answer_the_same_questions_agree(
    nats: NatsServer, bus: Bus
) -> None:
    """If two run by mistake, each question has one reply, and both get that one."""
    other = await Bus.connect(nats.url, name="other")
    try:
        events = asks(200)
        mine, theirs = (
            asyncio.gather(*(b.journal(reply_to(event, text)) for event in events))
            for b, text in ((bus, "mine"), (other, "theirs"))
        )
        assert await mine == await theirs
        assert len(await stored(bus, names.REPLIES)) == len(events)
    finally:
        await other.close()


async def test_only_the_message_that_is_too_large_is_refused(bus: Bus) -> None:
    commit = GroupCommit(bus.client, bus.js, timeout_s=5.0)
    sizes = [10] * 200
    sizes[120] = bus.client.max_payload + 1  # too large for the client
    sizes[130] = 600_000  # too large for the stream
    found = await asyncio.gather(
        *(
            commit.store(f"replies.test.ada.{number}", b"x" * size, {})
            for number, size in enumerate(sizes)
        ),
        return_exceptions=True,
    )
    assert isinstance(found.pop(130), nats.js.errors.APIError)
    assert isinstance(found.pop(120), nats.errors.MaxPayloadError)
    assert set(found) == {True}


async def test_a_full_stream_refuses_each_message_that_does_not_fit(bus: Bus) -> None:
    """None of the refused messages is stored."""
    config = (await bus.js.stream_info(names.PROMPTS)).config
    await bus.js.update_stream(config.evolve(max_msgs=100))
    found = await asyncio.gather(
        *(bus.publish(event) for event in asks(MANY)), return_exceptions=True
    )
    refused = [error for error in found if isinstance(error, Unavailable)]
    assert all("maximum messages exceeded" in str(error) for error in refused)
    assert len(refused) == MANY - 100
    assert len(await ids_stored(bus)) == found.count(True) == 100


async def test_a_stream_without_batches_gets_messages_one_by_one(bus: Bus) -> None:
    """Streams of older versions accept no batches until they are updated."""
    commit = GroupCommit(bus.client, bus.js, timeout_s=5.0)
    for burst in range(2):
        found = await asyncio.gather(
            *(commit.store(f"blobs.test.ada.{burst}-{number}", b"x", {}) for number in range(MANY))
        )
        assert all(found)
    assert (await bus.js.stream_info(names.BLOBS)).state.messages == 2 * MANY
    assert not any(BATCH_ID in (m.headers or {}) for m in await stored(bus, names.BLOBS))


async def test_a_server_without_batches_acknowledges_each_message(bus: Bus) -> None:
    """An old server acknowledges only the last message of a batch; the others are sent again."""
    seen: list[str] = []

    async def answer(message: Msg) -> None:
        seen.append(message.subject)
        if message.reply:
            await message.respond(b'{"stream": "OLD", "seq": 1}')

    await bus.client.subscribe("old.>", cb=answer)
    commit = GroupCommit(bus.client, bus.js, timeout_s=5.0)
    subjects = [f"old.{number}" for number in range(MANY)]
    assert all(await asyncio.gather(*(commit.store(subject, b"x", {}) for subject in subjects)))
    sent_again = [subject for subject in subjects if seen.count(subject) > 1]
    assert len(sent_again) == 2 * BATCH_MESSAGES, "the full batches are tried, then no more"
    assert set(seen) == set(subjects)


async def test_full_batches_are_sent_before_the_first_is_acknowledged(bus: Bus) -> None:
    """The server acknowledges none of them before it has received all."""
    held: list[tuple[Msg, bytes]] = []

    async def answer(message: Msg) -> None:
        if not message.reply:
            return
        headers = message.headers or {}
        ack = {"stream": "SLOW", "seq": 1}
        if BATCH_COMMIT not in headers:
            await message.respond(json.dumps(ack).encode())
            return
        ack["count"] = int(headers[BATCH_SEQUENCE])
        held.append((message, json.dumps(ack).encode()))
        if len(held) == BATCHES_AT_ONCE:
            for commit_message, its_ack in held:
                await commit_message.respond(its_ack)

    await bus.client.subscribe("slow.>", cb=answer)
    commit = GroupCommit(bus.client, bus.js, timeout_s=5.0)
    count = SINGLES_LIMIT + BATCHES_AT_ONCE * BATCH_MESSAGES
    assert all(
        await asyncio.gather(*(commit.store(f"slow.{number}", b"x", {}) for number in range(count)))
    )
    assert len(held) == BATCHES_AT_ONCE, "only full batches, and no single messages after them"


async def test_messages_of_one_subject_are_never_in_two_batches_at_once(bus: Bus) -> None:
    """A refused batch is sent again after the next one, which would change the order."""
    seen: list[tuple[str, str]] = []
    refused_s = 0.3

    async def refuse(message: Msg) -> None:
        await asyncio.sleep(refused_s)
        seen.append(("refused", ""))
        await message.respond(json.dumps({"error": {"err_code": 10071}}).encode())

    refusals: list[asyncio.Task[None]] = []

    async def answer(message: Msg) -> None:
        headers = message.headers or {}
        seen.append((message.subject, headers.get(BATCH_ID, "alone")))
        if BATCH_COMMIT in headers and not refusals:
            refusals.append(asyncio.create_task(refuse(message)))
        elif message.reply:
            count = {"count": int(headers[BATCH_SEQUENCE])} if BATCH_COMMIT in headers else {}
            await message.respond(json.dumps({"stream": "SLOW", "seq": 1, **count}).encode())

    await bus.client.subscribe("slow.>", cb=answer)
    commit = GroupCommit(bus.client, bus.js, timeout_s=5.0)
    subjects = [f"slow.{number}" for number in range(SINGLES_LIMIT + BATCH_MESSAGES)]
    again = subjects[-1]
    subjects += [again, *(f"slow.next-{number}" for number in range(BATCH_MESSAGES - 1))]
    assert all(await asyncio.gather(*(commit.store(subject, b"x", {}) for subject in subjects)))
    after = [how for subject, how in seen[seen.index(("refused", "")) :] if subject == again]
    before = [how for subject, how in seen[: seen.index(("refused", ""))] if subject == again]
    assert len(before) == 1, "it is sent once, in the batch that is refused"
    assert after[0] == "alone", "the first of the two is stored before the second is sent"
    assert len(after) == 2


async def test_a_client_that_opens_all_batches_cannot_block_others(bus: Bus) -> None:
    """The server allows 50 unfinished batches per stream."""
    for number in range(50):
        headers = {BATCH_ID: f"open-{number}", BATCH_SEQUENCE: "1"}
        await bus.client.publish("prompts.test.eve", b"{}", headers=headers)
    await bus.client.flush()
    assert all(await publish_all(bus, asks(MANY)))
    messages = await stored(bus)
    assert len(messages) == MANY
    assert not any(BATCH_ID in (m.headers or {}) for m in messages)


@pytest.mark.parametrize("way", list(Way))
async def test_messages_that_were_lost_are_stored_once(nats: NatsServer, way: Way) -> None:
    """The messages or their acknowledgements are lost on the network."""
    proxy = await TcpProxy.start(nats.url)
    far = await Bus.connect(proxy.url(nats.url), name="far")
    near = await Bus.connect(nats.url, name="near")
    try:
        events = asks(MANY)
        proxy.lose(way)
        publishing = asyncio.create_task(publish_all(far, events))
        await asyncio.sleep(1.0)
        assert proxy.lost_bytes
        proxy.reset()
        proxy.lose()
        await publishing
        assert sorted(await ids_stored(near)) == sorted(event.id for event in events)
    finally:
        await far.close()
        await near.close()
        await proxy.stop()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_server_killed_during_batches_keeps_acknowledged_messages(
    nats: NatsServer, bus: Bus, seed: int
) -> None:
    """Retries store each of the others once."""
    rng = random.Random(seed)
    acknowledged: list[str] = []

    async def publish_later(event: Ask) -> None:
        await asyncio.sleep(rng.uniform(0, 1.5))
        await bus.publish(event, patience_s=60)
        acknowledged.append(event.id)

    events = asks(4000)
    publishing = asyncio.gather(*(publish_later(event) for event in events))
    for _ in range(2):
        await asyncio.sleep(rng.uniform(0.2, 0.7))
        nats.kill()
        before = list(acknowledged)
        await asyncio.to_thread(nats.start)
        async with asyncio.timeout(30):
            while not bus.connected:
                await asyncio.sleep(0.01)
        assert set(before) <= set(await ids_stored(bus))
    await publishing
    assert any(BATCH_ID in (m.headers or {}) for m in await stored(bus))
    assert sorted(await ids_stored(bus)) == sorted(event.id for event in events)


async def test_cancelled_senders_release_their_slots(bus: Bus) -> None:
    """Senders are cancelled while they wait, in a batch, or when they get their slot."""
    for burst, pause_s in enumerate((0, 0, 0.001, 0.002, 0.005, 0.01)):
        tasks = [asyncio.create_task(bus.publish(event)) for event in asks(200, f"gone{burst}")]
        await asyncio.sleep(pause_s)
        for task in tasks[::2]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(done[1::2])
        assert not any(isinstance(outcome, Exception) for outcome in done)
    async with asyncio.timeout(20):
        assert all(await publish_all(bus, asks(MANY)))


async def test_a_slot_that_goes_to_a_cancelled_sender_is_released(bus: Bus) -> None:
    """Otherwise no slot would be left after a while."""
    commit = GroupCommit(bus.client, bus.js, timeout_s=5.0)
    waiting: list[asyncio.Task[bool]] = []

    async def store(number: int) -> None:
        await commit.store(f"replies.test.ada.{number}", b"x", {})
        for task in waiting:  # one of them has just got the slot of this message
            task.cancel()

    first = [asyncio.create_task(store(number)) for number in range(SINGLES_LIMIT)]
    await asyncio.sleep(0)
    waiting += [
        asyncio.create_task(commit.store(f"replies.test.eve.{number}", b"x", {}))
        for number in range(5)
    ]
    await asyncio.gather(*first)
    await asyncio.gather(*waiting, return_exceptions=True)
    assert all(task.cancelled() for task in waiting)
    assert commit._singles == 0
