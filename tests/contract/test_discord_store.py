"""A broken store file is set aside, and messages sent meanwhile are found."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bots.discord.store import Store
from bots.discord.wording import notice_text
from shared.messages import Ask, Place
from tests.contract.worlds.discord import DiscordWorld

QUIET_S = 0.5
PLACE = Place(platform="discord", channel="1", audience="public")


@pytest.fixture
async def world() -> AsyncIterator[DiscordWorld]:
    async with DiscordWorld() as world:
        yield world


def noise(file: Path) -> None:
    """The file is not a database."""
    file.write_bytes(b"not a database, and long enough for a header: " * 100)


def truncated(file: Path) -> None:
    """The file is a copy that was cut off."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])


def one_byte(file: Path) -> None:
    """The file is cut off within its header."""
    file.write_bytes(file.read_bytes()[:1])


def empty(file: Path) -> None:
    """The file is empty, as after a power cut."""
    file.write_bytes(b"")


def zeroed(file: Path) -> None:
    """Only the first page reached the disk."""
    data = file.read_bytes()
    file.write_bytes(data[:4096] + bytes(len(data) - 4096))


def zeroed_header(file: Path) -> None:
    """The first page never reached the disk."""
    file.write_bytes(bytes(4096) + file.read_bytes()[4096:])


def scrambled(file: Path) -> None:
    """The pages of the tables contain garbage."""
    data = bytearray(file.read_bytes())
    for page in range(1, len(data) // 4096):
        data[page * 4096 : page * 4096 + 100] = b"\xff" * 100
    file.write_bytes(bytes(data))


BREAKS: list[Callable[[Path], None]] = [
    noise, truncated, one_byte, empty, zeroed, zeroed_header, scrambled,
]  # fmt: skip


def full_store(path: Path) -> None:
    """A store with many rows in each table, all of them in one file."""
    store = Store(path)
    store.frozen = False
    store.remember("commands", "abc")
    for number in range(1, 300):
        store.remember_question(number, "discord:1", PLACE)
        store.follow(number, number)
    store.done(1000)
    store.close()


@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_file_is_set_aside(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], broken: Callable[[Path], None]
) -> None:
    """It gets a clear name and one log line, and the next start finds an empty file."""
    path = tmp_path / "memory.sqlite"
    for number in (1, 2):
        path.unlink(missing_ok=True)
        full_store(path)
        broken(path)
        before = path.read_bytes()
        store = Store(path)
        assert store.watermark == 0
        assert store.lost
        assert store.question(7) is None
        store.remember_question(7, "discord:1", PLACE)
        assert store.question(7) == ("discord:1", PLACE)
        store.close()
        store = Store(path)
        assert store.lost  # no watermark yet
        store.close()
        if broken in {empty, one_byte}:
            continue  # SQLite treats an empty file as a new database
        aside = tmp_path / f"memory.sqlite.broken-{number}"
        assert aside.read_bytes() == before
        said = "".join(capfd.readouterr())
        assert said.count("set aside") == 1
        assert str(aside) in said


def test_readable_channels_of_a_broken_file_are_kept(tmp_path: Path) -> None:
    """Only this file says which direct messages to read."""
    path = tmp_path / "memory.sqlite"
    full_store(path)
    db = sqlite3.connect(path)
    (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'asked'").fetchone()
    db.close()
    data = bytearray(path.read_bytes())
    data[(root - 1) * 4096 : root * 4096] = bytes(4096)
    path.write_bytes(bytes(data))
    store = Store(path)
    assert store.lost
    assert store.followed()[:3] == [299, 298, 297]
    store.close()


def test_a_file_that_breaks_while_it_is_used_is_replaced(tmp_path: Path) -> None:
    """Callers get no error, and the watermark is kept."""
    path = tmp_path / "memory.sqlite"
    full_store(path)
    store = Store(path)
    assert store.watermark == 1000
    noise(path)
    Path(f"{path}-wal").unlink(missing_ok=True)
    for number in range(2000, 2100):
        store.remember_question(number, "discord:1", PLACE)
        store.follow(number, number)
    assert store.question(2099) == ("discord:1", PLACE)
    store.close()
    store = Store(path)
    assert store.watermark == 1000
    store.close()


def test_a_full_disk_stops_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It is logged once, and after a restart more messages are read again."""
    path = tmp_path / "memory.sqlite"
    store = Store(path)
    store._file.run("PRAGMA max_page_count=1")
    for number in range(1, 2000):
        store.remember_question(number, "discord:1", PLACE)
    store.frozen = False
    store.done(5)
    store.save()
    store.close()
    assert "".join(capfd.readouterr()).count("store not writable") == 1


def test_sqlite_is_set_up_to_survive_power_cuts(tmp_path: Path) -> None:
    """With this setting, SQLite promises an intact file."""
    store = Store(tmp_path / "memory.sqlite")
    assert store._file.run("PRAGMA synchronous") == [(1,)]
    assert store._file.run("PRAGMA journal_mode") == [("wal",)]
    store.close()
    assert not Store(tmp_path / "new" / "memory.sqlite").lost


# --- the adapter ----------------------------------------------------------------------------------


def texts(world: DiscordWorld) -> list[str]:
    return sorted(event.text for event in world.heard if isinstance(event, Ask))


def file_of(world: DiscordWorld) -> Path:
    return Path(world._folder.name) / "discord" / "memory.sqlite"


@pytest.mark.parametrize("broken", [noise, zeroed, empty])
async def test_messages_during_downtime_are_found(
    world: DiscordWorld, broken: Callable[[Path], None]
) -> None:
    """They are found in channels, the bot's threads and private threads, and asked once."""
    fake = world.fake
    private = await fake.private_thread("plans", "ada", "self")
    await fake.say("before", mention=True)
    await fake.say("in private", mention=True, channel=private)
    await fake.say("", mention=True)
    await world.until_heard(2)
    await fake.until(lambda: notice_text("help") in fake.read())
    await world.disconnect()
    await fake.say("missed", mention=True)
    await fake.say("missed in private", mention=True, channel=private)
    broken(file_of(world))
    await world.connect()
    await world.until_heard(4)
    await asyncio.sleep(QUIET_S)
    assert texts(world) == ["before", "in private", "missed", "missed in private"]
    assert fake.read().count(notice_text("help")) == 1


async def test_a_first_start_sets_the_watermark(world: DiscordWorld) -> None:
    """It is stored at once, so that the first question in a quiet server is not missed."""
    await world.disconnect()
    await world.fake.say("missed", mention=True)
    await world.connect()
    await world.until_heard(1)
    assert texts(world) == ["missed"]


async def test_a_channel_that_cannot_be_read_is_read_later(
    world: DiscordWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then the watermark stays, so that another restart loses nothing."""
    from bots.discord import backfill  # noqa: PLC0415

    monkeypatch.setattr(backfill, "RETRY_S", 0.0)
    monkeypatch.setattr(backfill, "TRIES", 1)
    monkeypatch.setattr(backfill, "READ_AGAIN_S", (0.3,))
    fake = world.fake
    await world.disconnect()
    await fake.say("missed", mention=True)
    fake.fail("GET", rf"/channels/{fake.general}/messages$", status=503, times=2)
    await world.connect()
    await world.until_heard(1)
    assert texts(world) == ["missed"]
