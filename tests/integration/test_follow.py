"""Positions in a stream that was replaced, restored or purged, or that lost messages."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from nats.aio.msg import Msg
from structlog.testing import capture_logs

from dataflow.store.store import POSITION
from ops.nats_server import NatsServer
from shared import names, streams
from shared.bus import Bus
from shared.follow import GAP, OTHER_HISTORY, OTHER_STREAM, Position, follow
from shared.tasks import end

HERE, ELSEWHERE = "dlq.here", "dlq.elsewhere"


class Reader:
    """Collects the messages of a follower of `dlq.here`, and keeps its position."""

    def __init__(self, after: Position | None = None) -> None:
        self.seen: list[str] = []
        self.position = after or Position()
        self.opened: list[tuple[Position, int]] = []

    async def take(self, message: Msg) -> None:
        metadata = message.metadata
        stream = self.opened[-1][0].stream
        self.position = Position(metadata.sequence.stream, stream, metadata.timestamp)
        self.seen.append(message.data.decode())

    def open(self, position: Position, last_sequence: int) -> None:
        self.opened.append((position, last_sequence))

    async def until_seen(self, *texts: str) -> None:
        async with asyncio.timeout(20):
            while self.seen[-len(texts) :] != list(texts):
                await asyncio.sleep(0.01)


@asynccontextmanager
async def following(bus: Bus, reader: Reader) -> AsyncIterator[None]:
    task = asyncio.create_task(
        follow(
            bus,
            names.DLQ,
            HERE,
            after=reader.position,
            deliver=reader.take,
            opened=reader.open,
        )
    )
    try:
        yield
        assert not task.done()
    finally:
        await end(task)


async def put(bus: Bus, *texts: str, subject: str = HERE) -> None:
    for text in texts:
        await bus.until_done(lambda text=text: bus.js.publish(subject, text.encode()))


async def replace_stream(bus: Bus) -> None:
    await bus.js.delete_stream(names.DLQ)
    await streams.set_up(bus.js)


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


def problems(logged: list[Any]) -> list[str]:
    """The logged problems with the stream."""
    events = {GAP, OTHER_HISTORY, OTHER_STREAM}
    return [line["event"] for line in logged if line["event"] in events]


@pytest.fixture
async def read(bus: Bus) -> Reader:
    """A reader that read three of five messages: `a`, `b` and `c`."""
    reader = Reader()
    await put(bus, "a", "b")
    await put(bus, "x", "y", subject=ELSEWHERE)
    await put(bus, "c")
    async with following(bus, reader):
        await reader.until_seen("c")
    return reader


async def test_reading_the_same_stream_continues(bus: Bus, read: Reader, logged: list[Any]) -> None:
    """Nothing is repeated or reported."""
    await put(bus, "d")
    async with following(bus, read):
        await read.until_seen("d")
    assert read.seen == ["a", "b", "c", "d"]
    assert problems(logged) == []


@pytest.mark.parametrize("count", [1, 3, 7], ids=["shorter", "about as long", "longer"])
async def test_another_stream_is_read_from_its_start(
    bus: Bus, read: Reader, logged: list[Any], count: int
) -> None:
    """The lengths do not matter. The messages count as stored before the reader started."""
    await replace_stream(bus)
    new = [f"new {number}" for number in range(count)]
    await put(bus, *new)
    async with following(bus, read):
        await read.until_seen(*new)
    assert read.seen == ["a", "b", "c", *new]
    assert read.opened[-1][0].sequence == 0
    assert read.opened[-1][1] == count
    assert problems(logged) == [OTHER_STREAM]


@pytest.mark.parametrize("count", [1, 7])
async def test_a_stream_that_is_replaced_at_run_time_is_read_from_its_start(
    bus: Bus, read: Reader, count: int
) -> None:
    new = [f"new {number}" for number in range(count)]
    async with following(bus, read):
        await replace_stream(bus)
        await put(bus, *new)
        await read.until_seen(*new)
    assert read.seen == ["a", "b", "c", *new]
    assert read.position.stream == (await bus.js.stream_info(names.DLQ)).created


async def test_a_server_that_loses_its_data_at_run_time_is_read_from_the_start(
    nats: NatsServer, bus: Bus, tmp_path: Path, read: Reader
) -> None:
    """The follower only sees that the connection breaks and comes back."""
    new = [f"new {number}" for number in range(7)]
    async with following(bus, read):
        nats.stop()
        shutil.rmtree(tmp_path / "nats-home" / "nats" / "js")
        nats.start()
        await bus.until_done(lambda: streams.set_up(bus.js))
        await put(bus, *new)
        await read.until_seen(*new)
    assert read.seen == ["a", "b", "c", *new]


class Backup:
    """A copy of the server's data that can be restored later."""

    def __init__(self, server: NatsServer, folder: Path) -> None:
        self._server = server
        self._store = folder / "nats-home" / "nats" / "js"
        self._copy = folder / "backup"
        self._replace(self._store, self._copy)

    def restore(self) -> None:
        self._replace(self._copy, self._store)

    def _replace(self, source: Path, target: Path) -> None:
        self._server.stop()
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        self._server.start()


@pytest.mark.parametrize("count", [1, 2, 6], ids=["below", "at", "beyond"])
@pytest.mark.parametrize("running", [False, True], ids=["ended", "running"])
async def test_a_restored_backup_is_read_from_the_first_new_message(
    nats: NatsServer, bus: Bus, tmp_path: Path, *, running: bool, count: int
) -> None:
    """The creation time is the same, but some sequences now belong to other messages."""
    new = [f"new {number}" for number in range(count)]
    reader = Reader()
    await put(bus, "a", "b")
    backup = Backup(nats, tmp_path)
    async with following(bus, reader):
        await put(bus, "c", "d")
        await reader.until_seen("d")
        if running:
            backup.restore()
            await put(bus, *new)
            await reader.until_seen(*new)
    if not running:
        backup.restore()
        await put(bus, *new)
        async with following(bus, reader):
            await reader.until_seen(*new)
    assert reader.seen == ["a", "b", "c", "d", *new]
    assert reader.position.sequence == 2 + count


async def test_messages_of_others_after_a_restored_backup_do_not_hide_ours(
    nats: NatsServer, bus: Bus, tmp_path: Path, logged: list[Any]
) -> None:
    """The stream is longer than the position, but the new messages have another subject."""
    reader = Reader()
    backup = Backup(nats, tmp_path)
    await put(bus, "a", "b", "c")
    async with following(bus, reader):
        await reader.until_seen("c")
    backup.restore()
    await put(bus, "new")
    await put(bus, *"12345", subject=ELSEWHERE)
    async with following(bus, reader):
        await reader.until_seen("new")
        await put(bus, "newer")
        await reader.until_seen("newer")
    assert reader.seen == ["a", "b", "c", "new", "newer"]
    assert problems(logged) == [OTHER_HISTORY]


async def test_reading_continues_after_the_last_message_was_deleted(bus: Bus, read: Reader) -> None:
    """An operator may delete a person's messages; nothing is read again."""
    await bus.js.purge_stream(names.DLQ, subject=HERE)
    await put(bus, "d")
    async with following(bus, read):
        await read.until_seen("d")
        await bus.js.delete_msg(names.DLQ, read.position.sequence)
        for info in await bus.js.consumers_info(names.DLQ):
            await bus.js.delete_consumer(names.DLQ, info.name)
        await put(bus, "e")
        await read.until_seen("e")
    assert read.seen == ["a", "b", "c", "d", "e"]


async def test_reading_a_purged_stream_continues(bus: Bus, read: Reader, logged: list[Any]) -> None:
    await bus.js.purge_stream(names.DLQ)
    await put(bus, "d")
    async with following(bus, read):
        await read.until_seen("d")
    assert read.seen == ["a", "b", "c", "d"]
    assert problems(logged) == []


async def test_messages_that_are_purged_unread_are_reported(
    bus: Bus, read: Reader, logged: list[Any]
) -> None:
    await put(bus, "lost")
    await bus.js.purge_stream(names.DLQ)
    await put(bus, "d")
    async with following(bus, read):
        await read.until_seen("d")
    assert problems(logged) == [GAP]


async def test_a_position_of_an_older_version_learns_its_stream(bus: Bus, read: Reader) -> None:
    """The old position is only a sequence; after the first read it also identifies the stream."""
    read.position = Position(3)
    await put(bus, "d")
    async with following(bus, read):
        await read.until_seen("d")
    stream = (await bus.js.stream_info(names.DLQ)).created
    assert read.opened[-1][0] == Position(3, stream)
    assert read.position.stream == stream


def test_a_position_survives_a_store() -> None:
    """Also one that is not known yet."""
    now = datetime.now(UTC)
    for position in (Position(5, now, now), Position(5), Position()):
        assert POSITION.validate_json(POSITION.dump_json(position)) == position
    assert POSITION.validate_json("{}") == Position()
