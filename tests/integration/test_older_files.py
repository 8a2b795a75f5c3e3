"""Conversations of older versions, and of one machine, are moved into the store once."""

import asyncio
import json
import pickle
import sqlite3
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, run_main

from dataflow.conversation import Conversation
from dataflow.store.older_files import FOLDER, MIGRATED, move_older
from dataflow.store.sqlite import FILE, SqliteStore
from dataflow.store.store import CannotOpen, Row, Store, Write
from dataflow.tokens import Window
from shared.follow import Position
from shared.lock import AlreadyRunning, locked
from shared.partitioning import partition_of
from tests.running import question

PARTITIONS = 16
AT = datetime(2026, 11, 1, tzinfo=UTC)
WINDOW = Window(context_tokens=10_000, answer_tokens=100, system_prompt="s")


def pending() -> bytes:
    conversation = Conversation(WINDOW, "test:bob")
    conversation.on_event(question("bob", 1, "hello?"), replayed=False)
    return conversation.dump()


PENDING = pending()


def quiet(user: str, text: str) -> bytes:
    return json.dumps({"user": user, "pending": [], "turns": [], "note": text},
                      separators=(",", ":")).encode()  # fmt: skip


class OlderPartition(StatefulSourcePartition[tuple[str, bytes | None], Any]):
    """Sends states of users, and keeps a position, as the source of older versions did."""

    def __init__(self, number: int, states: list[list[tuple[str, bytes | None]]]) -> None:
        self._number = number
        self._states = iter(states)

    def next_batch(self) -> list[tuple[str, bytes | None]]:
        return next(self._states)

    def snapshot(self) -> Any:
        return asdict(position(self._number))


class OlderSource(FixedPartitionedSource[tuple[str, bytes | None], Any]):
    def __init__(self, states: dict[int, list[list[tuple[str, bytes | None]]]]) -> None:
        self._states = states

    def list_parts(self) -> list[str]:
        return [str(number) for number in range(PARTITIONS)]

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> OlderPartition:
        del step_id, resume_state
        return OlderPartition(int(for_part), self._states.get(int(for_part), []))


class OlderStep(StatefulBatchLogic[bytes | None, int, bytes]):
    """Keeps the last state; None discards it, as an eviction did."""

    def __init__(self, saved: bytes | None) -> None:
        self._saved = saved

    def on_batch(self, values: list[bytes | None]) -> tuple[list[int], bool]:
        self._saved = values[-1]
        return [], self._saved is None

    def snapshot(self) -> bytes:
        assert self._saved is not None
        return self._saved


def position(number: int) -> Position:
    return Position(100 + number, AT, AT + timedelta(seconds=number))


def run_older(
    folder: Path, states: list[tuple[str, bytes | None]], places: dict[str, bytes] | None = None
) -> None:
    """Runs a flow of Bytewax with the step names of older versions; each state is an epoch."""
    if not folder.exists():
        folder.mkdir(parents=True)
        init_db_dir(folder, 4)  # type: ignore[no-untyped-call]
    flow = Dataflow("conversations")
    prompts = op.input("prompts", flow, OlderSource({0: [[state] for state in states]}))
    op.output("none", op.stateful_batch("conversation", prompts, OlderStep), TestingSink([]))
    if places:
        by_place = op.input("places", flow, OlderSource({0: [[state] for state in places.items()]}))
        op.output("no", op.stateful_batch("place budget", by_place, OlderStep), TestingSink([]))
    config = RecoveryConfig(str(folder))  # type: ignore[no-untyped-call]
    run_main(flow, epoch_interval=timedelta(0), recovery_config=config)


def evict(folder: Path, rows: dict[str, bytes]) -> None:
    with closing(sqlite3.connect(folder / "at_rest.db")) as file, file:
        file.execute("CREATE TABLE conversations (user TEXT PRIMARY KEY, saved BLOB NOT NULL)")
        file.executemany("INSERT INTO conversations VALUES (?, ?)", rows.items())


@pytest.fixture
async def store(tmp_path: Path) -> Any:
    made = SqliteStore(tmp_path / FILE)
    await made.open(PARTITIONS)
    yield made
    await made.close()


async def stored(store: Store, *users: str) -> dict[str, bytes]:
    return await store.get(users)


async def test_everything_that_an_older_version_would_load_is_in_the_store(
    tmp_path: Path, store: SqliteStore
) -> None:
    """The newest state counts; who was evicted is in the other file; pending work is marked."""
    folder = tmp_path / FOLDER
    run_older(folder, [("test:ada", quiet("test:ada", "old")), ("test:eve", b"x"),
                       ("test:ada", quiet("test:ada", "new")), ("test:bob", PENDING),
                       ("test:eve", None)],
              {"slack:C1": b'{"day":{}}'})  # fmt: skip
    run_older(folder, [("test:zoe", quiet("test:zoe", "second run"))])
    evict(folder, {"test:eve": quiet("test:eve", "evicted"), "test:ada": b"older than recovery"})
    (folder / "unreadable").mkdir()
    (folder / "unreadable" / "0123.json").write_bytes(b"{}")
    await move_older(tmp_path, store, PARTITIONS)
    users = ("test:ada", "test:bob", "test:eve", "test:zoe")
    assert await stored(store, *users) == {
        "test:ada": quiet("test:ada", "new"),
        "test:bob": PENDING,
        "test:eve": quiet("test:eve", "evicted"),
        "test:zoe": quiet("test:zoe", "second run"),
    }
    claims = await store.claims()
    assert {n: claim.position for n, claim in claims.items()} == {
        n: position(n) for n in range(PARTITIONS)
    }
    in_bobs = await store.with_work(partition_of("test:bob", PARTITIONS))
    assert in_bobs == [Row("test:bob", PENDING, has_work=True)]
    assert not folder.exists()
    assert (tmp_path / MIGRATED).is_dir()
    assert (tmp_path / "dataflow" / "unreadable" / "0123.json").read_bytes() == b"{}"
    seen: list[bytes | None] = []
    await store.change_place("slack:C1", lambda saved: seen.append(saved) or b"{}")
    assert seen == [b'{"day":{}}']


async def test_a_store_that_was_used_is_not_overwritten(tmp_path: Path, store: SqliteStore) -> None:
    """For example after a downgrade and another upgrade."""
    await store.claim("me", {0: 0})
    rows = (Row("test:ada", b"newer"),)
    assert await store.write([Write(0, 1, "me", Position(7), rows)]) == set()
    run_older(tmp_path / FOLDER, [("test:ada", quiet("test:ada", "old"))])
    await move_older(tmp_path, store, PARTITIONS)
    assert await stored(store, "test:ada") == {"test:ada": b"newer"}
    assert (await store.claims())[0].position == Position(7)


async def test_nothing_is_moved_while_an_older_version_runs(
    tmp_path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would go on writing to its files."""
    monkeypatch.setattr("dataflow.store.older_files.MOVED_WITHIN_S", 0.1)
    run_older(tmp_path / FOLDER, [("test:ada", quiet("test:ada", "old"))])
    older = locked(tmp_path / "dataflow" / "lock-0", "the conversations flow")
    assert older
    with pytest.raises(AlreadyRunning, match="an older version of the dataflow"):
        await move_older(tmp_path, store, PARTITIONS)
    assert (tmp_path / FOLDER).is_dir()


async def test_several_processes_that_start_at_once_move_them_once(tmp_path: Path) -> None:
    """As with `--processes 3` after an upgrade."""
    run_older(tmp_path / FOLDER, [(f"test:u{n}", quiet(f"test:u{n}", "x")) for n in range(40)])
    stores = [SqliteStore(tmp_path / FILE) for _ in range(3)]
    for one in stores:
        await one.open(PARTITIONS)
    await asyncio.gather(*(move_older(tmp_path, one, PARTITIONS) for one in stores))
    assert len(await stored(stores[0], *(f"test:u{n}" for n in range(40)))) == 40
    for one in stores:
        await one.close()


async def test_a_state_that_names_code_is_refused(tmp_path: Path, store: SqliteStore) -> None:
    """Bytewax stores states with pickle, which can run code."""
    folder = tmp_path / FOLDER
    run_older(folder, [("test:ada", b"x")])
    for part in folder.glob("part-*.sqlite3"):
        with closing(sqlite3.connect(part)) as file, file:
            file.execute("UPDATE snaps SET ser_change = ?", (pickle.dumps(print),))
    with pytest.raises(CannotOpen, match=r"builtins\.print"):
        await move_older(tmp_path, store, PARTITIONS)
    assert folder.is_dir()


@pytest.mark.parametrize("state", [b"", b"\x80\x04\x8c\xff", b"R.", b"\x80\x04K\x07q"])
async def test_a_damaged_state_is_named(tmp_path: Path, store: SqliteStore, state: bytes) -> None:
    """Whatever exception pickle raises for its bytes."""
    run_older(tmp_path / FOLDER, [("test:ada", b"x")])
    for part in (tmp_path / FOLDER).glob("part-*.sqlite3"):
        with closing(sqlite3.connect(part)) as file, file:
            file.execute("UPDATE snaps SET ser_change = ?", (state,))
    with pytest.raises(CannotOpen, match=r"recovery .* cannot be read: "):
        await move_older(tmp_path, store, PARTITIONS)
    assert (tmp_path / FOLDER).is_dir()


async def test_a_damaged_file_of_an_older_version_is_not_taken_for_a_damaged_store(
    tmp_path: Path,
) -> None:
    """Otherwise the process would end and start again for ever. Nothing is moved."""
    folder = tmp_path / FOLDER
    run_older(folder, [("test:ada", b"x")])
    for part in folder.glob("part-0.sqlite3*"):
        part.unlink()
    (folder / "part-0.sqlite3").write_bytes(b"no database " * 1000)
    broken: list[sqlite3.Error] = []

    def on_broken(error: sqlite3.Error) -> NoReturn:
        broken.append(error)
        raise error

    store = SqliteStore(tmp_path / FILE, on_broken)
    await store.open(PARTITIONS)
    with pytest.raises(CannotOpen, match=r"recovery .* cannot be read: file is not a database"):
        await move_older(tmp_path, store, PARTITIONS)
    assert broken == []
    assert folder.is_dir()
    assert await stored(store, "test:ada") == {}
    await store.close()
