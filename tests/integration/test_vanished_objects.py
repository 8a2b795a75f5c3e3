"""Streams and consumers that are deleted, replaced or emptied, before a start or at run time."""

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from nats.aio.msg import Msg
from structlog.testing import capture_logs

from bots.relay import Relay
from ops.nats import set_up_streams
from ops.nats_server import NatsServer
from shared import names, streams
from shared.bus import Bus
from shared.pull import Pull, consume
from shared.replies import Reply
from shared.streams import ensure_reply_consumer
from shared.tasks import end
from tests.fakes.model import FakeModel
from tests.fakes.platform import FakePlatform
from tests.restricted_nats import restricted_nats
from tests.running import Running, answer_to, dataflow, question

USERS = [f"user{number}" for number in range(6)]
RELAY = "test"


@pytest.fixture
async def flow(nats: NatsServer, tmp_path: Path, fake_model: FakeModel) -> AsyncIterator[Running]:
    flow = dataflow(tmp_path / "home", nats.url, fake_model.base_url).start()
    await flow.ready()
    yield flow
    flow.kill()


async def everybody_asks(bus: Bus, number: int) -> list[str]:
    """Each user asks one question; returns the outcomes."""
    asked = [answer_to(bus, question(user, number, f"question {number}")) for user in USERS]
    return [reply.outcome for reply in await asyncio.gather(*asked)]


ALL_ANSWERED = ["answered"] * len(USERS)


@asynccontextmanager
async def connected(url: str, name: str = "test") -> AsyncIterator[Bus]:
    bus = await Bus.connect(url, name=name)
    try:
        yield bus
    finally:
        await bus.close()


def times_logged(flow: Running, words: str) -> int:
    """How often the log contains a text."""
    return flow.log.read_text(errors="replace").count(words)


async def until(condition: Callable[[], Any], *, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


# --- the dataflow -----------------------------------------------------------------------------


async def test_everybody_is_answered_after_nats_lost_its_data(
    nats: NatsServer, tmp_path: Path, flow: Running
) -> None:
    """The dataflow keeps its snapshots, but their positions do not apply to the new stream."""
    async with connected(nats.url) as bus:
        for user in USERS:
            assert (await answer_to(bus, question(user, 0, "hello"))).outcome == "answered"
    assert await flow.stop() == 0
    nats.stop()
    shutil.rmtree(tmp_path / "nats-home" / "nats" / "js")
    nats.start()
    await set_up_streams(nats.url)
    async with connected(nats.url) as bus:
        # The new stream is just as long, so all old positions exist in it.
        again = [question(user, 1, "hello again") for user in USERS]
        for ask in again:
            await bus.publish(ask)
        flow.start()
        for ask in again:
            reply = await bus.reply_when_stored(ask.user, ask.id, timeout_s=30)
            assert reply is not None, f"{ask.user} gets no reply"
            assert reply.outcome == "answered"
        assert await everybody_asks(bus, 2) == ALL_ANSWERED
        assert await flow.stop() == 0
        flow.start()
        assert await everybody_asks(bus, 3) == ALL_ANSWERED


@pytest.mark.parametrize("stream", [names.PROMPTS, names.REPLIES])
async def test_a_stream_can_be_deleted_while_the_dataflow_runs(
    bus: Bus, flow: Running, stream: str
) -> None:
    """Questions are answered again after the set-up, without a restart."""
    for number in range(2):
        assert await everybody_asks(bus, number) == ALL_ANSWERED
    await bus.js.delete_stream(stream)
    if stream == names.PROMPTS:
        await until(lambda: times_logged(flow, "cannot read: it does not exist"))
    await streams.set_up(bus.js)
    for number in range(2, 5):
        assert await everybody_asks(bus, number) == ALL_ANSWERED
    if stream == names.PROMPTS:
        assert times_logged(flow, "cannot read: it does not exist") == 1
        assert times_logged(flow, "available again") == 1


async def test_replies_wait_for_their_stream(bus: Bus, flow: Running) -> None:
    """Questions that are asked meanwhile are answered once the stream is back."""
    await bus.js.delete_stream(names.REPLIES)
    asked = [question(user, 0, "hello") for user in USERS]
    for ask in asked:
        await bus.publish(ask)
    await until(lambda: times_logged(flow, "nats does not store"))
    assert times_logged(flow, "--setup-only") == 1
    await streams.set_up(bus.js)
    for ask in asked:
        reply = await bus.reply_when_stored(ask.user, ask.id, timeout_s=20)
        assert reply is not None
        assert reply.outcome == "answered"


async def test_conversations_survive_the_loss_of_the_journal(
    bus: Bus, flow: Running, fake_model: FakeModel
) -> None:
    """Conversations remember answers that the new journal does not contain."""
    assert await everybody_asks(bus, 0) == ALL_ANSWERED
    await bus.js.delete_stream(names.REPLIES)
    await streams.set_up(bus.js)
    flow.kill()
    flow.start()
    assert await everybody_asks(bus, 1) == ALL_ANSWERED
    assert len(fake_model.requests[-1]["messages"]) == 4


async def test_dead_letters_wait_for_their_stream(bus: Bus, flow: Running) -> None:
    """No message is dropped, and reading the prompt stream continues afterwards."""
    await bus.js.delete_stream(names.DLQ)
    unreadable = question("ada", 0, "hello")
    await bus.js.publish(names.prompt_subject(unreadable.user), b"{")
    after = question("ada", 1, "and now?")
    await bus.publish(after)
    await until(lambda: times_logged(flow, "nats does not store"))
    await streams.set_up(bus.js)
    reply = await bus.reply_when_stored(after.user, after.id, timeout_s=20)
    assert reply is not None
    assert reply.outcome == "answered"
    assert (await bus.js.stream_info(names.DLQ)).state.messages == 1


def published(headers: bytes) -> bytes:
    """A message with these headers in the NATS protocol."""
    return b"HPUB prompts.test.ada %d %d\r\n%b{\r\n" % (len(headers), len(headers) + 1, headers)


@pytest.mark.parametrize(
    "hostile",
    [
        b"PUB prompts.test.a\xff\xfe 1\r\n{\r\n",
        published(b"NATS/1.0 404 \xff\xff\r\n\r\n"),
        published(b"NATS/1.0\r\nX: \xff\xfe\xfd\r\n\r\n"),
    ],
    ids=["subject", "status", "header"],
)
async def test_malformed_protocol_bytes_do_not_stop_the_reading(
    nats: NatsServer, bus: Bus, flow: Running, hostile: bytes
) -> None:
    """nats-py's reader stops at the first subject or status line that is not UTF-8."""
    await asyncio.to_thread(write_raw, nats.url, hostile)
    async with asyncio.timeout(20):
        while not (await bus.js.stream_info(names.DLQ)).state.messages:
            await asyncio.sleep(0.02)
    assert await everybody_asks(bus, 0) == ALL_ANSWERED
    assert not times_logged(flow, "nats lost")


def write_raw(url: str, data: bytes) -> None:
    """Publishes bytes that no client library would send; returns once the server has them."""
    server = urlsplit(url)
    hello = {"user": server.username, "pass": server.password, "headers": True, "verbose": False}
    with socket.create_connection((server.hostname or "", server.port or 0), timeout=10) as wire:
        wire.sendall(b"CONNECT " + json.dumps(hello).encode() + b"\r\n" + data + b"PING\r\n")
        answer = b""
        while b"PONG" not in answer:
            more = wire.recv(4096)
            assert more, "the server closed the connection"
            answer += more
    assert b"-ERR" not in answer


# --- a relay ----------------------------------------------------------------------------------


def reply(number: int) -> Reply:
    ask = question("ada", number, "hello")
    return Reply(
        prompt_id=ask.id, user=ask.user, place=ask.place, outcome="answered",
        text=f"answer {number}", said_at=ask.said_at, answered_at=datetime.now(UTC),
    )  # fmt: skip


@asynccontextmanager
async def relaying(bus: Bus, platform: FakePlatform) -> AsyncIterator[None]:
    relay = Relay(bus, platform, consumer=RELAY, subject="replies.test.>")
    task = asyncio.create_task(relay.run())
    try:
        yield
        assert not task.done()
    finally:
        await end(task)


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


def said(logged: list[Any], words: str) -> int:
    return sum(words in line["event"] for line in logged)


@pytest.mark.parametrize("stream", [None, names.REPLIES, names.RECEIPTS_STREAM])
async def test_a_relay_survives_the_loss_of_a_stream_or_its_consumer(
    bus: Bus, stream: str | None
) -> None:
    """The relay works again after a set-up, without a restart."""
    platform = FakePlatform()
    async with relaying(bus, platform):
        await bus.journal(reply(1))
        await platform.until_posts(1)
        if stream is None:
            await bus.js.delete_consumer(names.REPLIES, RELAY)
        else:
            await bus.js.delete_stream(stream)
        await asyncio.sleep(0.5)
        await streams.set_up(bus.js)
        await ensure_reply_consumer(bus.js, RELAY, "replies.test.>")
        await bus.journal(reply(2))
        await platform.until_posts(2)
    assert platform.texts() == ["answer 1", "answer 2"]


class Collector:
    """Acknowledges the messages of a consumer and collects their texts."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def take(self, message: Msg) -> None:
        self.seen.append(Reply.model_validate_json(message.data).text)
        await message.ack()


@asynccontextmanager
async def consuming(bus: Bus, collector: Collector) -> AsyncIterator[None]:
    async def ensure() -> None:
        await ensure_reply_consumer(bus.js, RELAY, "replies.test.>")

    pull = Pull(bus, names.REPLIES, RELAY, collector.take, keep_inbox=True)
    task = asyncio.create_task(consume(bus, pull, ensure=ensure))
    try:
        yield
        assert not task.done()
    finally:
        await end(task)


async def test_a_deleted_consumer_is_created_again(bus: Bus, logged: list[Any]) -> None:
    """The consumer is created at once and each time, and no message is skipped."""
    collector = Collector()
    async with consuming(bus, collector):
        for number in range(3):
            await bus.journal(reply(number))
            await until(lambda number=number: f"answer {number}" in collector.seen)
            await bus.js.delete_consumer(names.REPLIES, RELAY)
            await until(lambda number=number: said(logged, "created again") == number + 2)
    assert said(logged, "cannot read") == 0


async def test_without_permission_to_create_its_consumer_a_process_waits_for_the_operator(
    tmp_path: Path, logged: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log says once what to do; reading continues after the set-up."""
    monkeypatch.setattr("shared.pull.ENSURE_EVERY_S", 1.0)
    collector = Collector()
    denied = "$JS.API.CONSUMER.CREATE.>", "$JS.API.CONSUMER.DURABLE.>"
    with restricted_nats(tmp_path / "restricted", *denied) as server:
        await set_up_streams(server.operator_url)
        async with (
            connected(server.operator_url) as operator,
            connected(server.url, RELAY) as bus,
            consuming(bus, collector),
        ):
            await operator.journal(reply(1))
            for round_number in (1, 2):
                await until(lambda n=round_number: said(logged, "cannot read") == n)
                await ensure_reply_consumer(operator.js, RELAY, "replies.test.>")
                await until(lambda n=round_number: len(collector.seen) == n)
                await until(lambda n=round_number: said(logged, "available again") == n)
                await operator.js.delete_consumer(names.REPLIES, RELAY)
            await until(lambda: said(logged, "cannot read") == 3)
    (line, *_) = [line for line in logged if line["event"].startswith("cannot read")]
    assert "--setup-only" in line["remedy"]
    assert said(logged, "created again") == 0


@pytest.mark.parametrize(
    "headers",
    [b"NATS/1.0 404 \xff\xff\r\n\r\n", b"NATS/1.0 \xff\r\n\r\n", b"NATS/1.0\r\n\xff: \xff\r\n\r\n"],
)
async def test_malformed_headers_do_not_end_a_subscription(
    nats: NatsServer, bus: Bus, headers: bytes
) -> None:
    """Anybody can publish on the gateway's subject."""
    seen: list[bytes] = []

    async def see(message: Msg) -> None:
        seen.append(message.data)

    await bus.watch("prompts", see)
    await bus.client.flush()
    hostile = b"HPUB prompts %d %d\r\n%b1\r\n" % (len(headers), len(headers) + 1, headers)
    await asyncio.to_thread(write_raw, nats.url, hostile + b"PUB prompts 1\r\n2\r\n")
    await until(lambda: seen == [b"1", b"2"], seconds=5)
