"""The bus, followers and consumers with a real server that is killed, suspended or cut off."""

import asyncio
import contextlib
import gc
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import nats.js.errors
import pytest
from nats.aio.msg import Msg
from structlog.testing import capture_logs

from ops.nats_server import NatsServer
from shared import names, quota, streams
from shared.bus import CUT, Bus, OverQuota, StoreFull
from shared.connection import REQUEST_TIMEOUT_S, Unavailable
from shared.follow import Position, follow
from shared.messages import Deleted, Forget, Reset, Stop
from shared.pull import Pull, consume
from shared.quota import Quotas
from shared.replies import REPLY_LIMIT_BYTES, Partial, Reply
from shared.streams import ensure_reply_consumer
from shared.tasks import end
from tests.fakes.tcp_proxy import TcpProxy, Way
from tests.running import direct, question

LOST = "nats lost: reconnecting"
BACK = "nats is back"


@pytest.fixture
async def proxy(nats: NatsServer) -> AsyncIterator[TcpProxy]:
    proxy = await TcpProxy.start(nats.url)
    yield proxy
    await proxy.stop()


@pytest.fixture
async def far(nats: NatsServer, proxy: TcpProxy) -> AsyncIterator[Bus]:
    """A bus that is connected through the proxy."""
    bus = await Bus.connect(proxy.url(nats.url), name="far")
    yield bus
    proxy.lose()
    proxy.resume()
    await bus.close()


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


def warnings(logged: list[Any]) -> list[str]:
    """The events logged at warning level and above."""
    return [line["event"] for line in logged if line["log_level"] in {"warning", "error"}]


async def until(condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


class Reader:
    """Collects the texts that a follower or consumer delivers, in order."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.sequences: list[int] = []
        self.tries: list[str] = []
        self.fail: Exception | None = None
        self.wait_s = 0.0

    async def take(self, message: Msg) -> None:
        self.tries.append(message.data.decode())
        if self.wait_s:
            await asyncio.sleep(self.wait_s)
        if self.fail is not None:
            error, self.fail = self.fail, None
            raise error
        self.seen.append(message.data.decode())
        self.sequences.append(message.metadata.sequence.stream)

    async def take_and_acknowledge(self, message: Msg) -> None:
        await self.take(message)
        await message.ack()

    async def until_seen(self, *texts: str, seconds: float = 20.0) -> None:
        await until(lambda: set(texts) <= set(self.seen), seconds=seconds)


@asynccontextmanager
async def following(bus: Bus, reader: Reader, *, after: int = 0) -> AsyncIterator[None]:
    task = asyncio.create_task(
        follow(bus, names.DLQ, "dlq.>", after=Position(after), deliver=reader.take)
    )
    try:
        yield
        assert not task.done()
    finally:
        await end(task)


@asynccontextmanager
async def consuming(bus: Bus, reader: Reader) -> AsyncIterator[None]:
    await ensure_reply_consumer(bus.js, "test", "replies.test.>")
    pull = Pull(bus, names.REPLIES, "test", reader.take_and_acknowledge, keep_inbox=True)
    task = asyncio.create_task(consume(bus, pull))
    try:
        yield
        assert not task.done()
    finally:
        await end(task)


async def put(bus: Bus, *texts: str, **headers: str) -> None:
    """Stores texts in the stream that a follower reads."""
    for text in texts:
        await bus.until_done(
            lambda text=text: bus.js.publish("dlq.x", text.encode(), headers=dict(headers) or None)
        )


def numbered(start: int, stop: int) -> list[str]:
    return [str(n) for n in range(start, stop)]


def reply(number: int | str, text: str = "text", **fields: Any) -> Reply:
    now = datetime.now(UTC)
    return Reply(
        prompt_id=f"ada-{number}", user="test:ada", place=direct("ada"), outcome="answered",
        text=text, said_at=now, answered_at=now, **fields,
    )  # fmt: skip


async def stored(bus: Bus, stream: str) -> int:
    return (await bus.js.stream_info(stream)).state.messages


# --- follow ---------------------------------------------------------------------------------------


async def test_a_follower_gets_each_message_once_and_in_order(bus: Bus) -> None:
    """There are more than two batches of messages, some of them stored before it starts."""
    reader = Reader()
    await put(bus, *numbered(0, 300))
    async with following(bus, reader):
        await put(bus, *numbered(300, 700))
        await reader.until_seen("699")
    assert reader.seen == numbered(0, 700)
    assert await bus.js.consumers_info(names.DLQ) == []


async def test_a_follower_starts_after_its_position(bus: Bus) -> None:
    reader = Reader()
    await put(bus, *numbered(0, 10))
    async with following(bus, reader, after=7):
        await reader.until_seen("9")
    assert reader.seen == numbered(7, 10)


async def test_a_follower_continues_after_kills_of_the_server(nats: NatsServer, bus: Bus) -> None:
    """After three `kill -9` during publishing, no message is repeated or skipped."""
    reader = Reader()
    async with following(bus, reader):
        for kill in range(3):
            await put(bus, *numbered(kill * 100, kill * 100 + 50))
            await reader.until_seen(str(kill * 100))
            nats.kill()
            nats.start()
            await put(bus, *numbered(kill * 100 + 50, kill * 100 + 100))
        await reader.until_seen("299")
    # If a kill lost an acknowledgement, the publish was repeated and is in this stream twice.
    assert reader.sequences == list(range(1, len(reader.seen) + 1))
    assert list(dict.fromkeys(reader.seen)) == numbered(0, 300)


async def test_a_follower_continues_after_dropped_connections(
    bus: Bus, far: Bus, proxy: TcpProxy
) -> None:
    """The server still has the old consumer, but no message is repeated."""
    reader = Reader()
    reader.wait_s = 0.001
    async with following(far, reader):
        for cut in range(5):
            await put(bus, *numbered(cut * 100, cut * 100 + 100))
            # Sooner than by missed heartbeats, which take 11 s.
            await until(lambda cut=cut: len(reader.seen) > cut * 100 + 30, seconds=8)
            proxy.reset()
        await reader.until_seen("499")
    assert reader.seen == numbered(0, 500)


async def test_a_follower_continues_after_a_half_open_connection(
    bus: Bus, far: Bus, proxy: TcpProxy
) -> None:
    """Nothing arrives, but the connection is not closed. Pings notice this after about 6 s."""
    reader = Reader()
    async with following(far, reader):
        await put(bus, "0")
        await reader.until_seen("0")
        proxy.pause()
        await put(bus, *numbered(1, 10))
        await until(lambda: not far.connected, seconds=10)
        proxy.resume()
        await reader.until_seen("9")
    assert reader.seen == numbered(0, 10)


async def test_a_slow_network_loses_and_repeats_nothing(
    bus: Bus, far: Bus, proxy: TcpProxy
) -> None:
    reader = Reader()
    proxy.slow_s = 0.1
    async with following(far, reader):
        await put(bus, *numbered(0, 600))
        await reader.until_seen("599")
    assert reader.seen == numbered(0, 600)
    assert proxy.connections == 1


async def test_a_follower_replaces_its_deleted_consumer(bus: Bus) -> None:
    """The server deletes inactive consumers."""
    reader = Reader()
    async with following(bus, reader):
        await put(bus, "0")
        await reader.until_seen("0")
        for info in await bus.js.consumers_info(names.DLQ):
            await bus.js.delete_consumer(names.DLQ, info.name)
        await put(bus, "1")
        await reader.until_seen("1", seconds=5)
    assert reader.seen == ["0", "1"]


async def test_a_failed_delivery_is_repeated(bus: Bus, logged: list[Any]) -> None:
    """The order is kept, and the defect is logged with its traceback."""
    reader = Reader()
    reader.fail = RuntimeError("a defect")
    async with following(bus, reader):
        await put(bus, "0", "1")
        await reader.until_seen("1")
    assert reader.seen == ["0", "1"]
    assert warnings(logged) == ["message not delivered"]


async def test_a_long_delivery_is_not_interrupted(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heartbeats that wait for its end do not count as missed."""
    monkeypatch.setattr("shared.pull.MISSED_AFTER_S", 0.5)
    monkeypatch.setattr("shared.pull.HEARTBEAT_S", 0.2)
    reader = Reader()
    reader.wait_s = 1.5
    async with following(bus, reader):
        await put(bus, "0", "1")
        await reader.until_seen("1")
    assert reader.tries == reader.seen == ["0", "1"]


async def test_a_reconnect_does_not_interrupt_a_delivery(
    bus: Bus, far: Bus, proxy: TcpProxy
) -> None:
    """The delivery ends and is not repeated."""
    reader = Reader()
    reader.wait_s = 1.0
    async with following(far, reader):
        await put(bus, "0", "1")
        await until(lambda: reader.tries == ["0"])
        proxy.reset()
        await reader.until_seen("1")
    assert reader.tries == ["0", "1"]


@pytest.mark.parametrize("status", ["100", "404", "408", "409", "503"])
async def test_a_stored_header_is_not_taken_for_a_server_status(bus: Bus, status: str) -> None:
    """Otherwise a publisher could hide a message, or make readers repeat it forever."""
    reader = Reader()
    async with following(bus, reader):
        await put(bus, "0", Status=status, Description="Consumer Deleted")
        await put(bus, "1")
        await reader.until_seen("1", seconds=5)
    assert reader.tries == ["0", "1"]


async def test_a_gap_is_reported_and_skipped(bus: Bus, logged: list[Any]) -> None:
    await put(bus, *numbered(0, 10))
    await bus.js.purge_stream(names.DLQ, seq=8)
    reader = Reader()
    async with following(bus, reader, after=3):
        await reader.until_seen("9")
    assert reader.seen == ["7", "8", "9"]
    line = next(line for line in logged if line["event"].startswith("older messages are gone"))
    assert (line["first_missing"], line["last_missing"]) == (4, 7)


async def test_a_new_stream_is_reported_and_read_from_its_start(
    bus: Bus, logged: list[Any]
) -> None:
    await put(bus, "0", "1")
    reader = Reader()
    async with following(bus, reader, after=1000):
        await put(bus, "2")
        await reader.until_seen("2")
    assert reader.seen == ["0", "1", "2"]
    assert "the stream is another one than before: reading it from its start" in warnings(logged)


async def test_a_stream_that_is_recreated_at_run_time_is_read_from_its_start(
    bus: Bus, logged: list[Any]
) -> None:
    reader = Reader()
    async with following(bus, reader):
        await put(bus, "0", "1", "2")
        await reader.until_seen("2")
        await bus.js.delete_stream(names.DLQ)
        await until(lambda: "cannot read: it does not exist" in warnings(logged))
        await streams.set_up(bus.js)
        await put(bus, "new")
        await reader.until_seen("new")
    assert reader.seen == ["0", "1", "2", "new"]


# --- consume --------------------------------------------------------------------------------------


async def test_a_consumer_continues_after_a_kill_of_the_server(nats: NatsServer, bus: Bus) -> None:
    reader = Reader()
    async with consuming(bus, reader):
        await bus.journal(reply(1))
        await until(lambda: len(reader.seen) == 1)
        nats.kill()
        nats.start()
        await bus.journal(reply(2))
        await until(lambda: any("ada-2" in text for text in reader.seen))


async def test_a_consumer_continues_after_it_was_deleted_and_created_again(
    bus: Bus, logged: list[Any]
) -> None:
    """The log reports once that it is missing."""
    reader = Reader()
    async with consuming(bus, reader):
        await bus.journal(reply(1))
        await until(lambda: len(reader.seen) == 1)
        await bus.js.delete_consumer(names.REPLIES, "test")
        await until(lambda: "cannot read: it does not exist" in warnings(logged))
        await asyncio.sleep(0.5)  # time for several more checks
        await ensure_reply_consumer(bus.js, "test", "replies.test.>")
        await bus.journal(reply(2))
        await until(lambda: any("ada-2" in text for text in reader.seen))
    assert warnings(logged).count("cannot read: it does not exist") == 1


async def test_messages_sent_before_a_dropped_connection_are_still_delivered(
    bus: Bus, far: Bus, proxy: TcpProxy
) -> None:
    """Otherwise they would be redelivered after newer ones."""
    reader = Reader()
    reader.wait_s = 0.1
    for number in range(20):
        await bus.journal(reply(number))
    async with consuming(far, reader):
        await until(lambda: len(reader.tries) >= 2)
        proxy.reset()
        await until(lambda: len(reader.seen) >= 20, seconds=8)  # the wait is 10 s
    assert reader.seen[:20] == list(dict.fromkeys(reader.seen))
    assert reader.sequences[:20] == list(range(1, 21))


# --- publish and journal --------------------------------------------------------------------------


async def test_an_event_is_stored_once_however_often_it_is_published(bus: Bus) -> None:
    ask = question("ada", 1, "hello")
    assert await bus.publish(ask) is True
    assert await bus.publish(ask) is False
    assert await stored(bus, names.PROMPTS) == 1


async def test_a_deletion_can_take_the_place_of_its_question(bus: Bus) -> None:
    """With the question's own id: the question is not stored any more, by any process."""
    ask = question("u1", 1, "wrong window")
    common = {"user": ask.user, "place": ask.place, "said_at": ask.said_at, "prompt_id": ask.id}
    assert not await bus.is_stored(ask.user, ask.id)
    assert await bus.publish(Deleted(id=ask.id, **common))
    assert await bus.is_stored(ask.user, ask.id)
    assert not await bus.publish(ask)
    assert (await bus.js.stream_info(names.PROMPTS)).state.messages == 1


async def test_a_publish_whose_acknowledgement_was_lost_is_stored_once(
    bus: Bus, far: Bus, proxy: TcpProxy
) -> None:
    """The caller gets Unavailable, and the retry finds it stored."""
    ask = question("ada", 1, "hello")
    await far.publish(question("ada", 0, "warm"))
    proxy.lose(Way.DOWN)
    with pytest.raises(Unavailable):
        await far.publish(ask)
    assert await stored(bus, names.PROMPTS) == 2
    proxy.lose()
    assert await far.publish(ask, patience_s=20) is False
    assert await stored(bus, names.PROMPTS) == 2


async def test_publishing_with_patience_survives_a_restart_of_the_server(
    nats: NatsServer, bus: Bus
) -> None:
    nats.kill()
    publishing = asyncio.create_task(bus.publish(question("ada", 1, "hello"), patience_s=20))
    await until(lambda: not bus.connected)
    nats.start()
    await publishing
    assert await stored(bus, names.PROMPTS) == 1


def use_up_quota(bus: Bus, user: str = "test:ada") -> None:
    """Uses up a user's quota."""
    unused = quota.EVENT_QUOTA_BYTES - bus._event_quotas._used_by(user, time.monotonic())
    assert bus._event_quotas.take(user, int(unused), time.monotonic())


async def test_one_user_cannot_exceed_the_quota(bus: Bus) -> None:
    """The event is not stored. Others are not affected, and stored events are still recognized."""
    first = question("ada", 1, "hello")
    assert await bus.publish(first)
    use_up_quota(bus)
    with pytest.raises(OverQuota):
        await bus.publish(question("ada", 2, "more"))
    assert await bus.publish(question("bob", 1, "hello"))
    assert not await bus.publish(first)
    assert await stored(bus, names.PROMPTS) == 2
    with pytest.raises(OverQuota):
        await bus.publish(question("ada", 2, "more"))


async def test_an_event_over_quota_is_refused_even_if_the_stream_is_empty(bus: Bus) -> None:
    """The check whether its id is stored also works with an empty stream."""
    use_up_quota(bus)
    with pytest.raises(OverQuota):
        await bus.publish(question("ada", 1, "hello"))
    assert await stored(bus, names.PROMPTS) == 0


@pytest.mark.parametrize("kind", [Stop, Deleted, Reset, Forget])
async def test_a_user_over_quota_can_still_stop_and_delete(bus: Bus, kind: Any) -> None:
    """Stop, Deleted, Reset and Forget have a quota of their own."""
    use_up_quota(bus)
    head = question("ada", 1, "x").model_dump(exclude={"kind", "text"})
    assert await bus.publish(kind(**head, prompt_id="ada-0"))
    assert bus._reserved_quotas.take(
        "test:ada", quota.RESERVE_BYTES - quota.RESERVE_MIN_BYTES, time.monotonic()
    )
    assert not await bus.publish(kind(**head, prompt_id="ada-0"))
    with pytest.raises(OverQuota):
        await bus.publish(kind(**{**head, "id": "ada-2"}, prompt_id="ada-0"))


async def test_repeats_and_refusals_do_not_use_the_quota(nats: NatsServer, bus: Bus) -> None:
    """Only newly stored events count."""
    ask = question("ada", 1, "hello")
    assert await bus.publish(ask)
    used = bus._event_quotas._used_by("test:ada", time.monotonic())
    for _ in range(5):
        assert not await bus.publish(ask)
    nats.kill()
    await until(lambda: not bus.connected)
    with pytest.raises(Unavailable):
        await bus.publish(question("ada", 2, "hello"))
    assert bus._event_quotas._used_by("test:ada", time.monotonic()) <= used
    nats.start()
    await until(lambda: bus.connected)


async def test_the_server_also_limits_each_user(bus: Bus) -> None:
    """The limit remains if an adapter loses its quotas in a restart. Others are not affected."""
    live = (await bus.js.stream_info(names.PROMPTS)).config
    await bus.js.update_stream(live.evolve(max_msgs_per_subject=2))
    asks = [question("ada", number, "hello") for number in range(3)]
    assert [await bus.publish(ask) for ask in asks[:2]] == [True, True]
    with pytest.raises(OverQuota):
        await bus.publish(asks[2])
    assert not await bus.publish(asks[0])
    many = [question(f"user{number}", 1, "hello") for number in range(100)]
    results = await asyncio.gather(
        *(bus.publish(ask) for ask in [*many, asks[2]]), return_exceptions=True
    )
    assert results[:-1] == [True] * 100
    assert isinstance(results[-1], OverQuota)


async def test_a_full_stream_is_not_reported_as_a_users_quota(bus: Bus, logged: list[Any]) -> None:
    """The caller gets StoreFull, and the log reports the full store once."""
    live = (await bus.js.stream_info(names.PROMPTS)).config
    await bus.js.update_stream(live.evolve(max_bytes=1000))
    assert await bus.publish(question("ada", 1, "hello"))
    for number in (2, 3):
        with pytest.raises(StoreFull):
            await bus.publish(question("ada", number, "x" * 1000))
    lines = [line["event"] for line in logged]
    assert lines.count("refused: the store of questions is full") == 1


async def test_the_first_reply_is_kept(nats: NatsServer, bus: Bus) -> None:
    """A second caller gets the first reply, even at the same moment."""
    other = await Bus.connect(nats.url, name="other")
    results = await asyncio.gather(
        *(b.journal(reply(1, f"text {n}")) for n, b in enumerate([bus, other] * 10))
    )
    await other.close()
    assert len({r.reply.text for r in results}) == 1
    assert await bus.stored_reply("test:ada", "ada-1") == results[0]
    assert await stored(bus, names.REPLIES) == 1


async def test_a_write_to_a_connection_that_has_just_gone_is_no_defect(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.12 raises a TypeError for it. Here, all versions do, so that 3.11 tests it, too."""

    def as_in_3_12(_: object) -> None:
        raise TypeError("'NoneType' object is not callable")

    transport = bus.client._transport._io_writer.transport
    monkeypatch.setattr(transport, "writelines", as_in_3_12)
    transport.abort()
    await asyncio.sleep(0)  # asyncio knows of it, and nats-py does not
    assert bus.connected
    for _ in range(2):  # the second time, without a flusher
        await bus.client.publish("anything", b"")
        await bus.client._flush_pending()
        await bus.client._send_ping()
    assert await bus.publish(question("ada", 1, "hello"), patience_s=20)


async def test_a_reply_whose_acknowledgement_was_lost_is_stored_once(
    bus: Bus, far: Bus, proxy: TcpProxy
) -> None:
    await far.journal(reply(0))
    proxy.lose(Way.DOWN)
    journaling = asyncio.create_task(far.journal(reply(1, "once")))
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        while await stored(bus, names.REPLIES) < 2:
            await asyncio.sleep(0.01)
    proxy.reset()
    proxy.lose()
    assert (await asyncio.wait_for(journaling, 20)).reply.text == "once"
    assert await stored(bus, names.REPLIES) == 2


@pytest.mark.parametrize(
    "text",
    ["x" * 700_000, "\x00" * 100_000 + "x" * 400_000, "x" * 400_000 + "\x00" * 100_000,
     "🙂" * 130_000 + "x" * 400_000],
    ids=["plain", "escaped first", "escaped last", "emoji first"],
)  # fmt: skip
async def test_a_reply_that_is_too_large_is_cut_and_stored(bus: Bus, text: str) -> None:
    """The cut is right even if some characters take more bytes than others."""
    journaled = await asyncio.wait_for(bus.journal(reply(1, text, prompt_text="why?")), 10)
    kept = journaled.reply
    assert kept.text.endswith(CUT)
    assert text.startswith(kept.text.removesuffix(CUT))
    assert REPLY_LIMIT_BYTES // 5 < len(kept.wire()) <= REPLY_LIMIT_BYTES
    assert await bus.stored_reply("test:ada", "ada-1") == journaled


async def test_an_unreadable_stored_reply_settles_its_question(bus: Bus) -> None:
    """The stored reply cannot be replaced, and the user's queue must continue."""
    await bus.js.publish(names.reply_subject("test:ada", "ada-p1"), b"of another shape")
    assert await bus.stored_reply("test:ada", "ada-p1") is None
    mine = reply("p1", "mine")
    assert (await bus.journal(mine)).reply == mine


async def test_a_missing_stream_of_dead_letters_delays_one_message_only(
    bus: Bus, logged: list[Any]
) -> None:
    await bus.js.delete_stream(names.DLQ)
    async with asyncio.timeout(20):
        for number in range(50):
            await bus.dead_letter(
                subject=f"replies.test.ada.{number}", data=b"x", reason="unreadable"
            )
    lines = [line["event"] for line in logged]
    assert lines.count("nats refuses dead letters: they stay in their stream") == 1


async def test_a_large_reply_loses_its_question_before_its_answer_is_cut(bus: Bus) -> None:
    kept = (await bus.journal(reply(1, "x" * 400_000, prompt_text="y" * 100_000))).reply
    assert (kept.text, kept.prompt_text) == ("x" * 400_000, "")


async def test_a_caller_can_wait_for_a_reply(bus: Bus) -> None:
    """The reply is returned as soon as it is stored, or None after the timeout."""
    assert await bus.reply_when_stored("test:ada", "ada-1", timeout_s=0.2) is None
    waiting = asyncio.create_task(bus.reply_when_stored("test:ada", "ada-1", timeout_s=30))
    await bus.client.flush()
    await bus.journal(reply(1))
    found = await asyncio.wait_for(waiting, 2)
    assert found is not None
    assert found.prompt_id == "ada-1"


async def test_a_reply_that_the_journal_refused_is_not_returned(bus: Bus) -> None:
    """Subscribers receive a published message even if the server does not store it."""
    subject = names.reply_subject("test:ada", "ada-1")
    waiting = asyncio.create_task(bus.reply_when_stored("test:ada", "ada-1", timeout_s=30))
    await until(lambda: any(s.subject == subject for s in bus.client._subs.values()))
    await bus.client.flush()
    with pytest.raises(nats.js.errors.APIError):
        await bus.js.publish(
            subject,
            reply(1, "refused").wire(),
            headers={"Nats-Expected-Last-Subject-Sequence": "7"},
        )
    await bus.journal(reply(1, "stands"))
    found = await asyncio.wait_for(waiting, 5)
    assert found is not None
    assert found.text == "stands"


async def test_a_reply_that_is_stored_during_a_disconnection_is_found(
    bus: Bus, far: Bus, proxy: TcpProxy
) -> None:
    waiting = asyncio.create_task(far.reply_when_stored("test:ada", "ada-1", timeout_s=60))
    await until(lambda: bool(far.client._subs))
    await far.client.flush()
    proxy.pause()
    proxy.reset()
    await bus.journal(reply(1))
    proxy.resume()
    assert await asyncio.wait_for(waiting, 10) is not None


async def test_a_dead_letter_of_any_size_is_kept(bus: Bus, logged: list[Any]) -> None:
    """A large one is cut: one byte over the server's limit would close the connection for good."""
    data = b"x" * bus.client.max_payload
    await asyncio.wait_for(bus.dead_letter(subject="prompts", data=data, reason="no\nreply"), 10)
    letter = await bus.js.get_last_msg(names.DLQ, "dlq.prompts")
    assert len(letter.data or b"") > len(data) - 10_000
    assert (letter.headers or {})["Threadwax-Reason"] == "no reply"
    assert LOST not in warnings(logged)


async def test_a_dead_letter_is_cut_to_the_limit_of_its_caller(bus: Bus) -> None:
    await bus.dead_letter(subject="prompts", data=b"x" * 5000, reason="no reply", limit_bytes=10)
    assert (await bus.js.get_last_msg(names.DLQ, "dlq.prompts")).data == b"x" * 10


async def test_one_users_dead_letters_do_not_push_out_the_others(bus: Bus) -> None:
    """Over a user's quota only the beginning of each dead letter is kept, but none is dropped."""
    bus._dead_letter_quotas = Quotas(3000)
    for number in range(3):
        subject = f"replies.slack.T1.slack-{number}"
        await bus.dead_letter(subject=subject, data=b"x" * 2000, reason="gone")
    await bus.dead_letter(subject="replies.slack.T2.slack-9", data=b"x" * 2000, reason="gone")
    sizes = {
        subject: len(
            (await bus.js.get_last_msg(names.DLQ, f"dlq.replies.slack.{subject}")).data or b""
        )
        for subject in ("T1.slack-0", "T1.slack-1", "T1.slack-2", "T2.slack-9")
    }
    assert list(sizes.values()) == [2000, 1024, 1024, 2000]


async def test_dead_letters_of_one_subject_are_limited_in_number(bus: Bus) -> None:
    """Unanswerable requests share one subject, and only the newest are kept."""
    live = (await bus.js.stream_info(names.DLQ)).config
    assert live.max_msgs_per_subject == streams.DEAD_LETTERS_OF_A_SUBJECT
    await bus.js.update_stream(live.evolve(max_msgs_per_subject=3))
    await bus.dead_letter(subject="p.0.slack.T1", data=b"kept", reason="unreadable")
    for number in range(10):
        await bus.dead_letter(subject="prompts", data=f"{number}".encode(), reason="no reply")
    assert await stored(bus, names.DLQ) == 4
    assert (await bus.js.get_msg(names.DLQ, 1)).data == b"kept"
    assert (await bus.js.get_last_msg(names.DLQ, "dlq.prompts")).data == b"9"


# --- outages --------------------------------------------------------------------------------------


async def test_an_outage_and_its_end_are_each_reported_once(
    nats: NatsServer, bus: Bus, logged: list[Any]
) -> None:
    """The outage lasts three seconds, during which readers and writers keep retrying."""
    reader = Reader()
    async with following(bus, reader), consuming(bus, reader):
        await put(bus, "0")
        await reader.until_seen("0")
        nats.stop()
        writing = [asyncio.create_task(bus.journal(reply(n))) for n in range(5)]
        await asyncio.sleep(3)
        nats.start()
        await asyncio.gather(*writing)
        await put(bus, "1")
        await reader.until_seen("1")
    assert warnings(logged) == [LOST, BACK]


@pytest.mark.filterwarnings(
    # nats-py leaves the sockets of failed attempts to the garbage collector.
    "ignore:Exception ignored in. <function StreamWriter.__del__"
    ":pytest.PytestUnraisableExceptionWarning"
)
async def test_a_hung_server_is_noticed_and_survived(
    nats: NatsServer, bus: Bus, logged: list[Any]
) -> None:
    """SIGSTOP for 10 s: the server neither answers nor closes a connection."""
    reader = Reader()
    async with following(bus, reader):
        await put(bus, "0")
        await reader.until_seen("0")
        assert nats.pid is not None
        os.kill(nats.pid, signal.SIGSTOP)
        try:
            stopped = asyncio.get_running_loop().time()
            await until(lambda: not bus.connected, seconds=9)
            journaling = asyncio.create_task(bus.journal(reply(1, "kept")))
            await asyncio.sleep(stopped + 10 - asyncio.get_running_loop().time())
        finally:
            os.kill(nats.pid, signal.SIGCONT)
        await asyncio.wait_for(journaling, 20)
        await put(bus, "1")
        await reader.until_seen("1")
    assert reader.seen == ["0", "1"]
    assert warnings(logged).count(BACK) == 1
    assert await stored(bus, names.REPLIES) == 1
    gc.collect()  # here, because the filter above is for this test only


async def test_one_success_does_not_hide_another_failure(bus: Bus, logged: list[Any]) -> None:
    """The failure is logged once, although everything else succeeds."""

    async def impossible() -> None:
        await bus.js.publish("dlq.x", b"", headers={"Nats-Expected-Stream": "another"})

    trying = asyncio.create_task(bus.until_done(impossible))
    await until(lambda: bool(warnings(logged)))
    for n in range(5):
        await bus.journal(reply(n))
    await asyncio.sleep(1)  # time for several more tries
    assert warnings(logged) == ["nats does not store: retrying until it does"]
    trying.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await trying


# --- connecting -----------------------------------------------------------------------------------


async def test_wrong_credentials_are_named_without_the_password(nats: NatsServer) -> None:
    url = f"nats://threadwax:s3cret-word@127.0.0.1:{nats.port}"
    with pytest.raises(Unavailable, match="refuses the user and password") as raised:
        await asyncio.wait_for(Bus.connect(url, name="test"), 8)
    assert "s3cret" not in str(raised.value)
    assert f"127.0.0.1:{nats.port}" in str(raised.value)


@pytest.mark.parametrize("password", ["s3cret/word", "s3cret#word", "s3cret?word"])
async def test_an_invalid_address_shows_no_part_of_the_password(password: str) -> None:
    with pytest.raises(Unavailable) as raised:
        await Bus.connect(f"nats://user:{password}@127.0.0.1:4222", name="test", wait_s=0)
    assert "s3cret" not in str(raised.value)
    assert "word" not in str(raised.value).replace("password", "")


async def test_a_missing_server_is_reported_within_seconds() -> None:
    with pytest.raises(Unavailable, match="nobody answers there"):
        await asyncio.wait_for(
            Bus.connect("nats://user:s3cret@127.0.0.1:1", name="test", wait_s=1), 6
        )


async def test_a_silent_server_is_reported_within_seconds(
    nats: NatsServer, proxy: TcpProxy
) -> None:
    proxy.pause()
    with pytest.raises(Unavailable, match="it does not answer in time"):
        await asyncio.wait_for(Bus.connect(proxy.url(nats.url), name="test", wait_s=1), 8)


async def test_a_waiting_process_connects_when_the_server_starts(
    nats: NatsServer, logged: list[Any]
) -> None:
    """The wait and its end are each reported once."""
    nats.stop()
    connecting = asyncio.create_task(Bus.connect(nats.url, name="test", wait_s=None))
    await until(lambda: bool(warnings(logged)))
    nats.start()
    bus = await asyncio.wait_for(connecting, 10)
    await bus.close()
    assert warnings(logged) == ["waiting for nats", "nats is available"]


async def test_the_owner_of_a_bus_learns_that_its_client_was_closed(
    nats: NatsServer,
) -> None:
    """Payload and headers together exceed the limit, from which nats-py never recovers."""
    closed = asyncio.Event()
    bus = await Bus.connect(nats.url, name="test", on_closed=closed.set)
    await bus.client.publish(
        "dlq.x", b"x" * (bus.client.max_payload - 10), headers={"A": "b" * 100}
    )
    await asyncio.wait_for(closed.wait(), 10)
    await bus.close()


async def test_our_own_close_is_not_reported(nats: NatsServer, logged: list[Any]) -> None:
    called: list[bool] = []
    bus = await Bus.connect(nats.url, name="test", on_closed=lambda: called.append(True))
    await bus.close()
    assert called == []
    assert warnings(logged) == []


async def test_sending_a_partial_never_waits(nats: NatsServer, bus: Bus) -> None:
    """Without a server the partial is dropped."""
    nats.kill()
    await until(lambda: not bus.connected)
    shown = Partial(
        prompt_id="ada-1", user="test:ada", place=direct("ada"), text="x", attempt=1, sequence=1
    )
    await asyncio.wait_for(bus.show_partial(shown), 0.5)
    assert bus.client.pending_data_size == 0


async def test_a_flush_comes_after_pending_messages(bus: Bus) -> None:
    """After a flush, the server knows a subscription, even if the machine is busy."""
    transport = bus.client._transport
    written: list[bytes] = []
    write, write_lines = transport.write, transport.writelines

    def recorded(data: bytes) -> None:
        written.append(data)
        write(data)

    def recorded_lines(lines: list[bytes]) -> None:
        written.extend(lines)
        write_lines(lines)

    transport.write, transport.writelines = recorded, recorded_lines
    await bus.client.subscribe("somewhere")
    await bus.client.flush()
    sent = b"".join(written)
    assert 0 <= sent.find(b"SUB somewhere") < sent.find(b"PING")
