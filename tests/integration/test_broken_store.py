"""A damaged store is set aside, and the dataflow starts from the stream and the journal."""

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from dataflow.store.opening import CannotOpen, opened
from dataflow.store.sqlite import FILE
from dataflow.store.store import Row, Write
from ops.nats_server import NatsServer
from shared import names
from shared.bus import Bus
from shared.connection import CLOSED_EXIT_CODE
from shared.follow import Position
from shared.lifecycle import SAY
from shared.settings import Settings
from tests.damaged_store import break_conversations
from tests.fakes.model import FakeModel
from tests.running import answer_to, dataflow, question


def _overwrite(path: Path, data: bytes, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def _without_a_table(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        database.execute("DROP TABLE partitions")


FAULTS: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:6000]),
    "zeros": lambda file: _overwrite(file, bytes(8192), 0),
    "not a database": lambda file: file.write_bytes(b"hello" * 2000),
    "without a table": _without_a_table,
}


async def _use(home: Path, others: Callable[[], list[str]] = list) -> bool:
    """Opens the store and writes a conversation; returns whether there was one before."""
    store = await opened(Settings(THREADWAX_HOME=home), 2, others)
    was_there = bool(await store.get(["test:ada"]))
    (claim,) = (await store.claim("test", {0: (await store.claims())[0].epoch})).values()
    row = Row("test:ada", b"{}")
    assert await store.write([Write(0, claim.epoch, "test", Position(1), (row,))]) == set()
    await store.close()
    return was_there


@pytest.mark.parametrize("damage", FAULTS.values(), ids=FAULTS.keys())
async def test_a_damaged_store_is_set_aside_completely(
    tmp_path: Path, damage: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    """One message is printed, nothing is deleted, the new store works, and names are not reused."""
    file = tmp_path / FILE
    for number in (1, 2):
        assert not await _use(tmp_path)
        assert await _use(tmp_path)
        capsys.readouterr()
        damage(file)
        damaged = file.read_bytes()
        assert not await _use(tmp_path)
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"set aside as conversations.db.broken-{number}" in said
        assert file.with_name(f"{file.name}.broken-{number}").read_bytes() == damaged
        file.unlink()


async def test_the_log_of_a_damaged_store_is_not_applied_to_the_new_one(tmp_path: Path) -> None:
    """It is there if the process was killed."""
    killed, home = tmp_path / "killed", tmp_path / "home"
    await _use(killed)
    store = await opened(Settings(THREADWAX_HOME=killed), 2, list)
    (claim,) = (await store.claim("test", {0: 1})).values()
    write = Write(0, claim.epoch, "test", Position(1), (Row("test:ada", b"{}"),))
    assert await store.write([write]) == set()
    shutil.copytree(killed, home)
    await store.close()
    assert (home / f"{FILE}-wal").stat().st_size > 0
    FAULTS["not a database"](home / FILE)
    assert not await _use(home)
    assert await _use(home)


async def test_a_damaged_store_that_others_use_is_not_moved(tmp_path: Path) -> None:
    """They would go on to write into the file that was moved."""
    await _use(tmp_path)
    FAULTS["not a database"](tmp_path / FILE)
    with pytest.raises(CannotOpen, match=r"conversations.db is damaged .*Stop all of them"):
        await _use(tmp_path, lambda: ["another"])
    assert list((tmp_path / FILE).parent.glob("*.broken-*")) == []


@pytest.mark.timeout(180)
async def test_after_a_broken_store_nothing_is_forgotten_or_answered_twice(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """The damage is found at the start, or later when a broken page is read."""
    home = tmp_path / "home"
    file = home / FILE
    flow = dataflow(home, nats.url, fake_model.base_url, THREADWAX_EVICT_AFTER_S="2").start()
    asked = 0

    async def ask() -> None:
        nonlocal asked
        for name in ("ada", "bob"):
            await answer_to(bus, question(name, asked, f"{name} {asked}"))
            said = [message["content"] for message in fake_model.requests[-1]["messages"][1::2]]
            assert said == [f"{name} {number}" for number in range(asked + 1)]
        asked += 1
        assert len(fake_model.requests) == 2 * asked
        assert await bus.last_sequence(names.REPLIES) == 2 * asked

    try:
        await flow.ready()
        await ask()
        await ask()
        await flow.stop()
        FAULTS["cut short"](file)
        flow.start()
        await ask()
        said = flow.log.read_text().count(f"{SAY} {file} is damaged")
        assert said == 1
        assert "Traceback" not in flow.log.read_text()

        async with asyncio.timeout(30):
            while not _both_stored(file):
                await asyncio.sleep(0.1)
        await flow.stop()
        break_conversations(file)
        flow.start()
        broken = asyncio.create_task(
            answer_to(bus, question("ada", asked, f"ada {asked}"), timeout_s=60)
        )
        assert flow.process is not None
        code = await asyncio.to_thread(flow.process.wait, 60)
        assert code == CLOSED_EXIT_CODE, flow.log.read_text()[-2000:]
        flow.start()
        await broken
        said_last = [m["content"] for m in fake_model.requests[-1]["messages"][1::2]]
        assert said_last == [f"ada {number}" for number in range(asked + 1)]
        assert "Traceback" not in flow.log.read_text()
    finally:
        flow.kill()


def _both_stored(file: Path) -> bool:
    with contextlib.closing(sqlite3.connect(file)) as database:
        chosen = "SELECT count(*) = 2 FROM conversations WHERE NOT has_work"
        return bool(database.execute(chosen).fetchone()[0])
