"""Archives that are damaged or do not fit, full disks and Ctrl-C: nothing is left half-done."""

import asyncio
import errno
import hashlib
import os
import shutil
import signal
import sqlite3
import tarfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow.store.sqlite import FILE, SqliteStore
from dataflow.store.store import Row, Write
from ops.backup import commands
from ops.backup.archive import MANIFEST, Damaged, NewerArchive, verified, writing
from ops.backup.manifest import CONVERSATIONS
from ops.backup.progress import Progress
from ops.backup.put_back import NotHere, put_back
from ops.backup.streams import STREAMS
from ops.backup.take import take
from ops.nats import set_up_streams
from ops.nats_server import NatsServer
from shared import names
from shared.bus import Bus
from shared.follow import Position
from shared.settings import Settings

MIB = 1 << 20


@pytest.fixture(name="settings")
async def _settings(nats: NatsServer, bus: Bus, tmp_path: Path) -> Settings:
    """A data folder with a conversation, and a server with messages."""
    home = tmp_path / "old"
    store = SqliteStore(home / FILE)
    await store.open(16)
    await store.claim("old", dict.fromkeys(range(16), 0))
    created = (await bus.js.stream_info(names.PROMPTS)).created
    at = Position(1, created)
    await store.write([Write(3, 1, "old", at, (Row("test:ada", b"{}"),))])
    await store.close()
    for number in range(20):
        await bus.js.publish(f"prompts.test.u{number}", os.urandom(1000),
                             headers={"Nats-Msg-Id": f"u{number}-1"})  # fmt: skip
    await bus.js.publish("replies.test.u1.u1-1", b"reply")
    return Settings(THREADWAX_HOME=home, NATS_URL=nats.url)


@pytest.fixture(name="archive")
async def _archive(settings: Settings, nats: NatsServer, tmp_path: Path) -> Path:
    file = tmp_path / "archive.tar"
    await take(settings, nats.url, writing(file), Progress())
    return file


@pytest.fixture(name="fresh")
def _fresh(tmp_path: Path) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path / "new" / "nats", port=0)
    server.start()
    yield server
    server.close()


class Interrupting(Progress):
    """Does something when a step begins."""

    def __init__(self, step: str, act: Callable[[], None]) -> None:
        super().__init__()
        self._at = step
        self._act = act

    def begin(self, step: str) -> None:
        super().begin(step)
        if step == self._at:
            self._act()


def target(fresh: NatsServer, tmp_path: Path) -> Settings:
    return Settings(THREADWAX_HOME=tmp_path / "new", NATS_URL=fresh.url)


async def streams_of(url: str) -> dict[str, int]:
    bus = await Bus.connect(url, name="test")
    found = {info.config.name or "": info.state.messages for info in await bus.js.streams_info()}
    await bus.close()
    return found


def fill(disk: Path, *, but: int) -> None:
    """Leaves this many bytes free."""
    (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - but))


async def check_untouched(fresh: NatsServer, tmp_path: Path) -> None:
    """Checks that the new folder and server are as empty as before."""
    assert await streams_of(fresh.url) == {}
    left = [path for path in (tmp_path / "new" / "dataflow").glob("**/*") if path.is_file()]
    assert not left


async def test_positions_name_the_restored_streams_and_nobody_holds_partitions(
    archive: Path, fresh: NatsServer, tmp_path: Path
) -> None:
    """A process that held a partition before could not write any more."""
    await put_back(target(fresh, tmp_path), fresh.url, archive, Progress())
    store = SqliteStore(tmp_path / "new" / FILE)
    claims = await store.claims()
    assert {(claim.holder, claim.epoch) for claim in claims.values()} == {("", 2)}
    bus = await Bus.connect(fresh.url, name="test")
    created = (await bus.js.stream_info(names.PROMPTS)).created
    assert claims[3].position == Position(1, created)
    assert await store.get(["test:ada"]) == {"test:ada": b"{}"}
    claim = await bus.js.get_last_msg(names.RECEIPTS_STREAM, "$KV.RECEIPTS.test.u1-1.0")
    assert not claim.data
    receipts = await bus.js.stream_info(names.RECEIPTS_STREAM)
    assert receipts.state.messages == 20 + 19  # parts of a reply, and replies to come
    await store.close()
    await bus.close()


async def test_a_damaged_archive_changes_nothing(
    archive: Path, fresh: NatsServer, tmp_path: Path
) -> None:
    """Everything is read and compared before anything is restored."""
    whole = archive.read_bytes()
    middle, number = len(whole) // 2, whole.index(b'"partitions"') + 15
    for damaged in (
        whole[:-1700],
        whole[:middle],
        b"",
        whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        whole[:number] + bytes([whole[number] ^ 1]) + whole[number + 1 :],
    ):
        archive.write_bytes(damaged)
        with pytest.raises(Damaged):
            await put_back(target(fresh, tmp_path), fresh.url, archive, Progress())
    await check_untouched(fresh, tmp_path)


async def test_an_archive_of_a_newer_version_is_refused(
    archive: Path, fresh: NatsServer, tmp_path: Path
) -> None:
    newer = tmp_path / "newer.tar"
    with verified(archive) as old, writing(newer) as writer:
        writer.finish(old.manifest.model_copy(update={"format": 2, "threadwax": "9.9"}))
    with pytest.raises(NewerArchive, match=r"9\.9"):
        await put_back(target(fresh, tmp_path), fresh.url, newer, Progress())
    await check_untouched(fresh, tmp_path)


async def test_another_number_of_partitions_is_refused(
    archive: Path, fresh: NatsServer, tmp_path: Path
) -> None:
    settings = target(fresh, tmp_path).model_copy(update={"partitions": 8})
    with pytest.raises(NotHere, match="16 partitions"):
        await put_back(settings, fresh.url, archive, Progress())
    await check_untouched(fresh, tmp_path)


async def test_a_folder_with_conversations_and_running_processes_are_refused(
    archive: Path, settings: Settings, nats: NatsServer, bus: Bus, fresh: NatsServer
) -> None:
    """Both servers keep what they have."""
    with pytest.raises(NotHere, match=r"20 messages in the stream PROMPTS.*1 conversations"):
        await put_back(settings, nats.url, archive, Progress())
    with pytest.raises(NotHere, match="1 conversations"):
        await put_back(
            settings.model_copy(update={"nats_url": fresh.url}), fresh.url, archive, Progress()
        )
    assert await streams_of(fresh.url) == {}
    inbox = bus.client.new_inbox()
    await bus.client.subscribe(inbox)
    await bus.client.publish(
        "$JS.API.CONSUMER.MSG.NEXT.REPLIES.slack", b'{"expires":20000000000}',
        reply=inbox,
    )  # fmt: skip
    with pytest.raises(NotHere, match=r"still running: a reader of REPLIES \(slack\)"):
        await put_back(settings, nats.url, archive, Progress())


async def interrupted(work: Callable[[Progress], Coroutine[Any, Any, Any]], at: str) -> None:
    """Runs work as a command does, and sends SIGINT when a step begins."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    progress = Interrupting(at, lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        with pytest.raises(commands._StoppedBy):
            await commands._unless_stopped(work(progress), progress)
        await asyncio.sleep(0.6)  # until the handlers are gone
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def test_an_interrupted_restore_leaves_nothing(
    archive: Path, fresh: NatsServer, tmp_path: Path
) -> None:
    """It can be run again."""
    settings = target(fresh, tmp_path)
    for step in ("conversations and recorded answers", names.REPLIES, names.DLQ):
        await interrupted(lambda progress: put_back(settings, fresh.url, archive, progress), step)
        await check_untouched(fresh, tmp_path)
    await put_back(settings, fresh.url, archive, Progress())
    assert (await streams_of(fresh.url))[names.PROMPTS] == 20


async def test_what_is_there_is_named_with_the_commands_that_delete_it(
    archive: Path, settings: Settings, nats: NatsServer
) -> None:
    """For a server of one's own, and for files that the data folder has."""
    with pytest.raises(NotHere) as refused:
        await put_back(settings, nats.url, archive, Progress())
    commands = [line.strip() for line in str(refused.value).splitlines() if line.startswith("  ")]
    file = settings.home / FILE
    assert commands == [
        "nats stream rm --force PROMPTS  # with the same NATS_URL",
        "nats stream rm --force REPLIES  # with the same NATS_URL",
        f"rm -f {file} {file}-wal {file}-shm",
    ]


async def test_an_interrupted_backup_leaves_nothing(
    settings: Settings, nats: NatsServer, tmp_path: Path
) -> None:
    file = tmp_path / "backups" / "archive.tar"
    file.parent.mkdir()
    await interrupted(
        lambda progress: take(settings, nats.url, writing(file), progress), names.REPLIES
    )
    assert not list(file.parent.iterdir())


async def test_a_restore_that_fails_leaves_empty_streams_as_they_were(
    archive: Path, fresh: NatsServer, tmp_path: Path
) -> None:
    """Also those of a setup with other settings."""
    settings = target(fresh, tmp_path)
    bus = await Bus.connect(fresh.url, name="test")
    await set_up_streams(fresh.url, partitions=8)
    before = (await bus.js.stream_info(names.PROMPTS)).config

    def fail() -> None:
        raise OSError(errno.ENOSPC, "as ordered")

    with pytest.raises(OSError, match="as ordered"):
        await put_back(settings, fresh.url, archive, Interrupting(names.DLQ, fail))
    assert (await bus.js.stream_info(names.PROMPTS)).config == before
    assert (await bus.js.consumer_info(names.REPLIES, "slack")).name == "slack"
    assert set((await streams_of(fresh.url)).values()) == {0}
    await bus.close()


async def test_a_full_disk_leaves_no_archive(
    settings: Settings, nats: NatsServer, bus: Bus, small_disk: Path
) -> None:
    for number in range(30):
        await bus.js.publish(names.blob_subject("test-a", number), os.urandom(MIB // 2))
    fill(small_disk, but=4 * MIB)
    with pytest.raises(OSError, match="No space"):
        await take(settings, nats.url, writing(small_disk / "archive.tar"), Progress())
    assert not [path for path in small_disk.iterdir() if "archive" in path.name]


async def test_a_full_disk_stops_a_restore_before_it_shows(
    settings: Settings, nats: NatsServer, fresh: NatsServer, tmp_path: Path, small_disk: Path
) -> None:
    """The conversations do not fit, so no stream is restored either."""
    with sqlite3.connect(settings.home / FILE) as connection:
        connection.execute("INSERT INTO conversations VALUES ('test:b', 1, 0, ?)",
                           (os.urandom(30 * MIB),))  # fmt: skip
    connection.close()
    archive = tmp_path / "archive.tar"
    await take(settings, nats.url, writing(archive), Progress())
    full = target(fresh, tmp_path).model_copy(update={"home": small_disk / "new"})
    fill(small_disk, but=8 * MIB)
    with pytest.raises(OSError, match="No space"):
        await put_back(full, fresh.url, archive, Progress())
    await check_untouched(fresh, tmp_path)
    assert not [path for path in (small_disk / "new").rglob("*") if path.is_file()]


def test_an_archive_is_an_ordinary_tar_file(archive: Path) -> None:
    """Its parts can be checked without threadwax."""
    with tarfile.open(archive) as tar:
        assert [m for m in tar.getnames() if m.startswith("streams/")] == [
            f"streams/{stream}.s2" for stream in STREAMS
        ]
        assert CONVERSATIONS in tar.getnames()
        text = tar.extractfile(MANIFEST)
        assert text is not None
        checksum = hashlib.sha256(text.read()).hexdigest()
        assert tar.extractfile("manifest.sha256").read().decode().strip() == checksum
