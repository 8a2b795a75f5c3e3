"""The conversations of one machine are moved into PostgreSQL once, completely or not at all."""

import asyncio
import sqlite3
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dataflow.store.machine_file import move_file, remove_moved
from dataflow.store.postgres import PostgresStore
from dataflow.store.sqlite import FILE, SqliteStore
from dataflow.store.store import CannotOpen, Claim, OtherPartitionCount, Row, Store, Write
from shared.follow import Position
from tests.damaged_store import break_conversations
from tests.postgres import Postgres
from tests.running import ROOT

PARTITIONS = 16
AT = datetime(2026, 11, 1, tzinfo=UTC)
STORED = Position(103, AT, AT)


def _claims(claims: dict[int, Claim]) -> dict[int, Position]:
    return {number: claim.position for number, claim in claims.items()}


@pytest.fixture
def server_url(postgres: Postgres) -> str:
    return postgres.create(f"moved-{uuid.uuid4().hex}")


async def fill(home: Path, partitions: int = PARTITIONS) -> None:
    """Stores 1,200 conversations in this machine's file, of which every second has work."""
    local = SqliteStore(home / FILE)
    await local.open(partitions)
    await local.claim("me", {3: 0})
    rows = tuple(Row(f"test:u{n}", b"%d" % n, n % 2 == 0) for n in range(1200))
    await local.write([Write(3, 1, "me", STORED, rows)])
    await local.change_place("slack:C1", lambda _: b"{}")
    await local.close()


@pytest.fixture
async def shared(server_url: str) -> AsyncIterator[PostgresStore]:
    made = PostgresStore(server_url, "server")
    await made.open(PARTITIONS)
    yield made
    await made.close()


async def has_all(store: Store) -> bool:
    positions = _claims(await store.claims())
    moved = {number: Position() for number in range(PARTITIONS)} | {3: STORED}
    return len(await store.with_work(3)) == 600 and positions == moved


async def has_nothing(store: Store) -> bool:
    seen: list[bytes | None] = []
    await store.change_place("slack:C1", lambda saved: seen.append(saved) or b"{}")
    return seen == [None] and not await store.after(3, "", 1) and not any(
        claim.position.sequence for claim in (await store.claims()).values()
    )  # fmt: skip


async def test_conversations_of_one_machine_move_to_postgresql(
    tmp_path: Path, shared: PostgresStore
) -> None:
    """Rows, positions and budgets of places; a second start moves nothing."""
    await fill(tmp_path)
    await move_file(tmp_path, shared, PARTITIONS)
    assert await has_all(shared)
    assert not (tmp_path / FILE).exists()
    await move_file(tmp_path, shared, PARTITIONS)
    assert await has_all(shared)
    remove_moved(tmp_path)
    assert list((tmp_path / "dataflow").iterdir()) == []


async def test_processes_that_start_at_once_move_the_file_once(
    tmp_path: Path, server_url: str, shared: PostgresStore
) -> None:
    others = [PostgresStore(server_url, "server") for _ in range(2)]
    await fill(tmp_path)
    await asyncio.gather(*(move_file(tmp_path, one, PARTITIONS) for one in (shared, *others)))
    assert await has_all(shared)
    for one in others:
        await one.close()


def _no_database(file: Path) -> None:
    file.write_bytes(b"no database " * 1000)


def _cut(file: Path) -> None:
    """As after a crash of the disk: the rows at the end are missing."""
    with file.open("r+b") as pages:
        pages.truncate(file.stat().st_size // 2)


def _no_position(file: Path) -> None:
    with closing(sqlite3.connect(file)) as store, store:
        store.execute("UPDATE partitions SET position = '{' WHERE number = 3")


@pytest.mark.parametrize("damage", [_no_database, _cut, break_conversations, _no_position])
async def test_a_damaged_file_of_one_machine_is_named_and_nothing_of_it_is_moved(
    tmp_path: Path, shared: PostgresStore, damage: Callable[[Path], None]
) -> None:
    """Also if it is found when half of it is moved. Without the file, the next start succeeds."""
    await fill(tmp_path)
    file = tmp_path / FILE
    damage(file)
    for _ in range(2):
        with pytest.raises(
            CannotOpen, match=r"conversations\.db has .* cannot be read: .* move it"
        ):
            await move_file(tmp_path, shared, PARTITIONS)
    file.rename(tmp_path / "away.db")
    await move_file(tmp_path, shared, PARTITIONS)
    assert await has_nothing(shared)


async def test_a_file_that_a_process_still_uses_is_not_moved(
    tmp_path: Path, shared: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it wrote later would be lost."""
    monkeypatch.setattr("dataflow.store.machine_file.BUSY_S", 0.1)
    await fill(tmp_path)
    user = SqliteStore(tmp_path / FILE)
    await user.open(PARTITIONS)
    with pytest.raises(CannotOpen, match="another process still writes to it"):
        await move_file(tmp_path, shared, PARTITIONS)
    await user.close()
    assert await has_nothing(shared)
    assert (tmp_path / FILE).exists()


async def test_a_file_of_another_stream_is_not_moved(tmp_path: Path, shared: PostgresStore) -> None:
    """Its users are in other partitions."""
    await fill(tmp_path, partitions=8)
    with pytest.raises(OtherPartitionCount, match="in 8 partitions"):
        await move_file(tmp_path, shared, PARTITIONS)
    assert await has_nothing(shared)


MOVES = """
import asyncio, sys, time
from pathlib import Path
from dataflow.store import machine_file
from dataflow.store.postgres import PostgresStore

def hang(*_):
    print("hangs", flush=True)
    time.sleep(600)

{patch}

async def run():
    store = PostgresStore(sys.argv[2], "server")
    await store.open({partitions})
    await machine_file.move_file(Path(sys.argv[1]), store, {partitions})

asyncio.run(run())
"""

HALF = """
parts_of = machine_file._parts_of

def half(*arguments):
    for number, part in enumerate(parts_of(*arguments)):
        yield part
        if number == 3:  # positions, budgets, and 1,000 conversations
            hang()

machine_file._parts_of = half
"""


@pytest.mark.parametrize(
    ("patch", "moved"), [(HALF, False), ("machine_file.lifecycle.say = hang", True)]
)
async def test_a_process_that_is_killed_while_it_moves_a_file_leaves_all_or_nothing(
    tmp_path: Path, server_url: str, shared: PostgresStore, patch: str, *, moved: bool
) -> None:
    """In the middle, or before the file is renamed. The next start completes it."""
    await fill(tmp_path)
    code = MOVES.format(patch=patch, partitions=PARTITIONS)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(tmp_path), server_url, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"hangs\n"
    finally:
        process.kill()
        await process.communicate()
    assert await has_all(shared) is moved
    if not moved:
        assert not await shared.after(3, "", 1)
    assert (tmp_path / FILE).exists()
    await move_file(tmp_path, shared, PARTITIONS)
    assert await has_all(shared)
    assert not (tmp_path / FILE).exists()
