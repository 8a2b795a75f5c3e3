"""What every store of conversations must do: SQLite and PostgreSQL, each opened twice."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dataflow.store import server_connection
from dataflow.store.postgres import PostgresStore
from dataflow.store.sqlite import SqliteStore
from dataflow.store.store import Claim, OtherPartitionCount, Row, Store, StoreAway, Write
from shared.follow import Position
from tests.fakes.tcp_proxy import TcpProxy, Way
from tests.full_disk import fill
from tests.postgres import Postgres
from tests.running import ROOT

PARTITIONS = 4
NOW = datetime(2026, 11, 27, 12, 0, 0, 123456, tzinfo=UTC)
MakeStore = Callable[[], Store]


@pytest.fixture(params=["sqlite", "postgresql"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    """Makes another process's view of the same store."""
    if request.param == "sqlite":
        return lambda: SqliteStore(tmp_path / "dataflow" / "conversations.db")
    server: Postgres = request.getfixturevalue("postgres")
    url = server.create(f"test-{uuid.uuid4().hex}")
    return lambda: PostgresStore(url, "PostgreSQL")


@pytest.fixture
async def two(make_store: MakeStore) -> AsyncIterator[tuple[Store, Store]]:
    """The store as two processes see it."""
    one, other = make_store(), make_store()
    await asyncio.gather(one.open(PARTITIONS), other.open(PARTITIONS))
    yield one, other
    await one.close()
    await other.close()


async def claimed(store: Store, member: str, *partitions: int) -> dict[int, Claim]:
    """Claims partitions as they are now."""
    now = await store.claims()
    won = await store.claim(member, {number: now[number].epoch for number in partitions})
    assert set(won) == set(partitions)
    return won


def row(user: str, saved: str = "{}", *, has_work: bool = False) -> Row:
    return Row(user, saved.encode(), has_work)


async def test_all_processes_open_the_same_store(two: tuple[Store, Store]) -> None:
    """Also if both make it at the same time; nobody holds anything then."""
    one, other = two
    assert one.identity == other.identity != ""
    assert await one.claims() == await other.claims() == {n: Claim("", 0) for n in range(4)}


async def test_it_can_be_opened_again_and_keeps_everything(
    two: tuple[Store, Store], make_store: MakeStore
) -> None:
    one, _ = two
    epoch = (await claimed(one, "one", 2))[2].epoch
    await one.write([Write(2, epoch, "one", Position(9, NOW, NOW), (row("test:ada"),))])
    again = make_store()
    await again.open(PARTITIONS)
    assert again.identity == one.identity
    assert (await again.claims())[2] == Claim("one", epoch, Position(9, NOW, NOW))
    assert await again.get(["test:ada"]) == {"test:ada": b"{}"}
    await again.close()


async def test_another_number_of_partitions_is_refused(
    two: tuple[Store, Store], make_store: MakeStore
) -> None:
    other = make_store()
    with pytest.raises(OtherPartitionCount, match=r"in 4 partitions.* has 16.*another store"):
        await other.open(16)
    await other.close()
    assert len(await two[0].claims()) == PARTITIONS


async def test_of_two_that_claim_the_same_partitions_one_gets_each(
    two: tuple[Store, Store],
) -> None:
    """However often; epochs grow by one with each claim."""
    one, other = two
    for epoch in range(10):
        epochs = dict.fromkeys(range(PARTITIONS), epoch)
        mine, theirs = await asyncio.gather(one.claim("one", epochs), other.claim("other", epochs))
        assert set(mine) | set(theirs) == set(epochs)
        assert set(mine) & set(theirs) == set()
        for member, won in (("one", mine), ("other", theirs)):
            assert {(claim.holder, claim.epoch) for claim in won.values()} <= {(member, epoch + 1)}
    assert {claim.epoch for claim in (await one.claims()).values()} == {10}


async def test_a_claim_of_an_older_epoch_or_an_unknown_partition_gets_nothing(
    two: tuple[Store, Store],
) -> None:
    await claimed(two[0], "one", 0)
    before = await two[1].claims()
    assert await two[1].claim("other", {0: 0, 99: 0}) == {}
    assert await two[1].claim("other", {}) == {}
    assert await two[1].claims() == before


async def test_a_late_write_is_refused_as_a_whole_and_others_are_written(
    two: tuple[Store, Store],
) -> None:
    """Of one call, the partitions that are still held are written."""
    one, other = two
    mine = await claimed(one, "one", 0, 1)
    (theirs,) = (await claimed(other, "other", 0)).values()
    await other.write([Write(0, theirs.epoch, "other", Position(7), (row("test:a", "new"),))])
    late = Write(0, mine[0].epoch, "one", Position(5), (row("test:a", "old"), row("test:b")))
    good = Write(1, mine[1].epoch, "one", Position(6), (row("test:c", "kept"),))
    assert await one.write([late, good]) == {0}
    assert await one.write([good, late]) == {0}
    assert await one.get(["test:a", "test:b", "test:c"]) == {"test:a": b"new", "test:c": b"kept"}
    claims = await other.claims()
    assert claims[0] == Claim("other", theirs.epoch, Position(7))
    assert claims[1] == Claim("one", mine[1].epoch, Position(6))


async def test_a_late_release_frees_nothing(two: tuple[Store, Store]) -> None:
    one, other = two
    mine = await claimed(one, "one", 0)
    (theirs,) = (await claimed(other, "other", 0)).values()
    late = Write(0, mine[0].epoch, "one", Position(5), release=True, answering=frozenset({"q1"}))
    assert await one.write([late]) == {0}
    assert (await one.claims())[0] == theirs


async def test_a_release_says_who_still_answers_what(two: tuple[Store, Store]) -> None:
    """The next holder is told; once it holds the partition, that is over."""
    one, other = two
    epoch = (await claimed(one, "one", 0))[0].epoch
    answering = frozenset({"slack-1", "slack-2", "名"})
    release = Write(0, epoch, "one", Position(5), release=True, answering=answering)
    for _ in range(2):  # the acknowledgement was lost
        assert await one.write([release]) == set()
        assert (await other.claims())[0] == Claim("", epoch, Position(5), "one", answering)
    (won,) = (await other.claim("other", {0: epoch})).values()
    assert won == Claim("other", epoch + 1, Position(5), "one", answering)
    assert (await one.claims())[0] == Claim("other", epoch + 1, Position(5))


async def test_a_write_may_be_said_twice(two: tuple[Store, Store]) -> None:
    """Its acknowledgement can be lost."""
    one, other = two
    epoch = (await claimed(one, "one", 0))[0].epoch
    write = Write(0, epoch, "one", Position(5), (row("test:a", "x"),))
    for _ in range(2):
        assert await one.write([write]) == set()
    assert await other.get(["test:a"]) == {"test:a": b"x"}
    assert (await other.claims())[0] == Claim("one", epoch, Position(5))


async def test_many_conversations_are_written_and_found(two: tuple[Store, Store]) -> None:
    """More than one statement takes; in the order of their users, also a page at a time."""
    one, other = two
    epochs = {number: claim.epoch for number, claim in (await claimed(one, "one", 0, 1)).items()}
    users = [f"test:u{number:04}" for number in range(1301)]
    saved = {user: bytes([0, 255, number % 256]) * 50 for number, user in enumerate(users)}
    rows = tuple(Row(user, saved[user], has_work=number % 3 == 0)
                 for number, user in enumerate(users))  # fmt: skip
    half = len(users) // 2
    writes = [Write(n, epochs[n], "one", Position(1), part)
              for n, part in ((0, rows[:half]), (1, rows[half:]))]  # fmt: skip
    assert await one.write(writes) == set()
    assert await other.get([*users, "test:nobody"]) == saved
    assert await other.get([]) == {}
    assert await other.with_work(0) == [row for row in rows[:half] if row.has_work]
    assert await other.with_work(3) == []
    found: list[Row] = []
    while page := await other.after(1, found[-1].user if found else "", 100):
        found += page
    assert found == list(rows[half:])


async def test_a_conversation_without_work_any_more_is_not_found_as_such(
    two: tuple[Store, Store],
) -> None:
    one, other = two
    epoch = (await claimed(one, "one", 0))[0].epoch
    for has_work in (True, False):
        written = row("test:a", str(has_work), has_work=has_work)
        await one.write([Write(0, epoch, "one", Position(1), (written,))])
        assert await other.with_work(0) == ([written] if has_work else [])
    assert await other.after(0, "", 10) == [written]


async def test_changes_of_a_place_from_several_processes_are_all_counted(
    two: tuple[Store, Store],
) -> None:
    """No two changes see the same counter; another place is not touched."""

    def counted(saved: bytes | None) -> bytes:
        return str(int(saved or b"0") + 1).encode()

    await two[0].change_place("other", lambda _: b"7")
    changes = [store.change_place("slack:C1", counted) for store in two for _ in range(25)]
    await asyncio.gather(*changes)
    seen: list[bytes | None] = []

    def look(saved: bytes | None) -> bytes:
        seen.append(saved)
        return saved or b""

    await two[1].change_place("slack:C1", look)
    await two[1].change_place("other", look)
    assert seen == [b"50", b"7"]


async def test_a_change_that_fails_changes_nothing(two: tuple[Store, Store]) -> None:
    def defect(_: bytes | None) -> bytes:
        raise ZeroDivisionError

    await two[0].change_place("slack:C1", lambda _: b"1")
    with pytest.raises(ZeroDivisionError):
        await two[0].change_place("slack:C1", defect)
    seen: list[bytes | None] = []
    await two[0].change_place("slack:C1", lambda saved: seen.append(saved) or b"2")  # type: ignore[func-returns-value]
    assert seen == [b"1"]


async def test_old_bytes_can_be_scrubbed_while_others_use_it(two: tuple[Store, Store]) -> None:
    one, other = two
    epoch = (await claimed(one, "one", 0))[0].epoch
    for words in ("secret-7391", "later"):
        await one.write([Write(0, epoch, "one", Position(1), (row("test:a", words),))])
    await other.get(["test:a"])
    await one.scrub()
    assert await other.get(["test:a"]) == {"test:a": b"later"}


# --- SQLite ---------------------------------------------------------------------------------------


async def test_scrubbed_words_are_in_no_file(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "conversations.db")
    await store.open(1)
    (claim,) = (await store.claim("one", {0: 0})).values()
    for words in ("secret-7391 " * 500, "later"):
        await store.write([Write(0, claim.epoch, "one", Position(1), (row("test:a", words),))])
    assert any(b"secret-7391" in file.read_bytes() for file in tmp_path.iterdir())
    await store.scrub()
    assert not any(b"secret-7391" in file.read_bytes() for file in tmp_path.iterdir())
    await store.close()


@pytest.fixture
def private() -> Iterator[None]:
    """As in every process of ours (`shared/private_file.py`)."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("private")
async def test_the_files_are_private(tmp_path: Path) -> None:
    file = tmp_path / "dataflow" / "conversations.db"
    store = SqliteStore(file)
    await store.open(1)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    assert set(modes) >= {file.name, f"{file.name}-wal"}
    assert set(modes.values()) == {0o600}
    await store.close()


async def test_a_reader_that_blocks_scrubbing_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example a backup; the words are not reported as erased."""
    monkeypatch.setattr("dataflow.store.sqlite.SCRUB_WITHIN_S", 0.3)
    monkeypatch.setattr("dataflow.store.file_connection.BUSY_S", 0.2)
    file = tmp_path / "conversations.db"
    store = SqliteStore(file)
    await store.open(1)
    with closing(sqlite3.connect(file, isolation_level=None)) as backup:
        backup.execute("BEGIN")
        backup.execute("SELECT * FROM conversations").fetchall()
        await store.claim("one", {0: 0})
        with pytest.raises(StoreAway):
            await store.scrub()
    await store.scrub()
    await store.close()


WRITES = """
import asyncio, sys
from pathlib import Path
from dataflow.store.sqlite import SqliteStore
from dataflow.store.store import Row, Write
from shared.follow import Position

async def main(file, partition):
    store = SqliteStore(Path(file))
    await store.open(4)
    (claim,) = (await store.claim("x", {partition: 0})).values()
    for number in range(1, 41):
        row = Row(f"test:{partition}", str(number).encode() * 1000)
        assert not await store.write([Write(partition, claim.epoch, "x", Position(number), (row,))])
    await store.close()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


async def test_several_processes_write_at_once(tmp_path: Path) -> None:
    """They wait for each other's transactions, and none of these is lost."""
    file = tmp_path / "conversations.db"
    running = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITES, str(file), str(number),
            cwd=ROOT, stderr=subprocess.PIPE,
        )
        for number in range(PARTITIONS)
    ]  # fmt: skip
    for process in running:
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
    store = SqliteStore(file)
    await store.open(PARTITIONS)
    assert {claim.position for claim in (await store.claims()).values()} == {Position(40)}
    assert set((await store.get([f"test:{n}" for n in range(4)])).values()) == {b"40" * 1000}
    await store.close()


async def test_a_full_disk_is_reported_and_what_was_stored_stays(small_disk: Path) -> None:
    """What could not be written is written later; until then, everything can be read."""
    store = SqliteStore(small_disk / "conversations.db")
    await store.open(1)
    (claim,) = (await store.claim("one", {0: 0})).values()
    first = Write(0, claim.epoch, "one", Position(1), (row("test:a", "first"),))
    second = Write(0, claim.epoch, "one", Position(2), (row("test:a", "second" * 10_000),))
    assert await store.write([first]) == set()
    fill(small_disk / "ballast")
    with pytest.raises(StoreAway, match="full"):
        await store.write([second])
    assert await store.get(["test:a"]) == {"test:a": b"first"}
    assert (await store.claims())[0].position == Position(1)
    (small_disk / "ballast").unlink()
    assert await store.write([second]) == set()
    assert await store.get(["test:a"]) == {"test:a": b"second" * 10_000}
    await store.close()


# --- PostgreSQL -----------------------------------------------------------------------------------


async def test_a_server_that_was_away_is_used_again(own_postgres: Postgres) -> None:
    """It is stopped, then killed: what it has acknowledged stays."""
    store = PostgresStore(own_postgres.create("bot"), "PostgreSQL")
    await store.open(1)
    (claim,) = (await store.claim("one", {0: 0})).values()
    for number, end in enumerate((own_postgres.stop, own_postgres.crash), start=1):
        write = Write(0, claim.epoch, "one", Position(number), (row("test:a", str(number)),))
        end()
        for call in (store.write([write]), store.get(["test:a"]), store.claims()):
            with pytest.raises(StoreAway, match="PostgreSQL"):
                await call
        own_postgres.start()
        assert await store.write([write]) == set()
        assert await store.get(["test:a"]) == {"test:a": str(number).encode()}
    await store.close()


async def test_a_connection_that_goes_silent_is_given_up(
    own_postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut network says nothing. Neither a lost request nor a lost acknowledgement does harm."""
    monkeypatch.setattr(server_connection, "ANSWERS_WITHIN_S", 1.0)
    own_postgres.create("bot")
    proxy = await TcpProxy.start(f"unix:{own_postgres.folder}/.s.PGSQL.5432")
    store = PostgresStore(
        f"postgresql://threadwax@127.0.0.1:{proxy.port}/bot?sslmode=disable", "PostgreSQL"
    )
    await store.open(1)
    (claim,) = (await store.claim("one", {0: 0})).values()
    await store.claims()
    for number, way in ((1, Way.UP), (2, Way.DOWN)):
        write = Write(0, claim.epoch, "one", Position(number), (row("test:a", str(number)),))
        proxy.lose(way)
        for call in (store.write([write]), store.claims()):
            with pytest.raises(StoreAway):
                await call
        proxy.lose()
        assert await store.write([write]) == set()
        assert (await store.claims())[0].position == Position(number)
    assert proxy.lost_bytes > 0
    await store.close()
    await proxy.stop()
