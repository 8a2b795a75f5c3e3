"""A broken recovery store is set aside, and the dataflow starts from the stream and the journal."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from dataflow.eviction.store import FILE, EvictedStore
from dataflow.recovery_store import BrokenInCluster, recovery_store

from ops.nats_server import NatsServer
from shared import names
from shared.bus import Bus
from shared.connection import CLOSED_EXIT_CODE
from shared.lifecycle import SAY
from tests.fakes.model import FakeModel
from tests.running import answer_to, dataflow, question

ASIDE = "recovery.broken-1"


def _overwrite(path: Path, data: bytes, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


FAULTS: dict[str, Callable[[Path], None]] = {
    "missing": lambda store: (store / "part-2.sqlite3").unlink(),
    "empty": lambda store: (store / "part-2.sqlite3").write_bytes(b""),
    "cut short": lambda store: (store / "part-0.sqlite3").write_bytes(
        (store / "part-0.sqlite3").read_bytes()[:6000]
    ),
    "zeros": lambda store: _overwrite(store / "part-1.sqlite3", bytes(8192), 0),
    "a page of garbage": lambda store: _overwrite(store / "part-3.sqlite3", b"x" * 4096, 4096),
    "not a database": lambda store: (store / "part-0.sqlite3").write_bytes(b"hello" * 2000),
    "evicted: empty": lambda store: (store / FILE).write_bytes(b""),
    "evicted: not a database": lambda store: (store / FILE).write_bytes(b"hello" * 2000),
}


async def _add_evicted(store: Path) -> None:
    evicted = EvictedStore(store)
    evicted.put([("test:ada", b"{}")])
    await evicted.close()


@pytest.mark.parametrize("damage", FAULTS.values(), ids=FAULTS.keys())
async def test_a_broken_store_is_set_aside_completely(
    tmp_path: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """One message is printed, nothing is deleted, the new store works, and names are not reused."""
    for number in (1, 2):
        store = recovery_store(tmp_path)
        await _add_evicted(store)
        assert recovery_store(tmp_path) == store
        assert capsys.readouterr().err == ""
        damage(store)
        names_before = sorted(file.name for file in store.iterdir())
        assert recovery_store(tmp_path) == store
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"set aside as recovery.broken-{number}" in said
        aside = store.with_name(f"recovery.broken-{number}")
        assert sorted(file.name for file in aside.iterdir()) == names_before
        assert not (store / FILE).exists()


def test_a_broken_store_of_a_cluster_is_not_moved(tmp_path: Path) -> None:
    """Other processes may be using it, and it would no longer match their stores."""
    store = recovery_store(tmp_path)
    FAULTS["missing"](store)
    with pytest.raises(BrokenInCluster, match=r"part-2.sqlite3: it is missing.*Stop all processes"):
        recovery_store(tmp_path, alone=False)
    assert not store.with_name(ASIDE).exists()


@pytest.mark.timeout(180)
async def test_after_a_broken_store_nothing_is_forgotten_or_answered_twice(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """The damage is found at the start, or later when a broken page is read."""
    home = tmp_path / "home"
    store = home / "dataflow" / "recovery"
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
        FAULTS["cut short"](store)
        flow.start()
        await ask()
        said = flow.log.read_text().count(f"{SAY} {store} is broken")
        assert said == 1
        assert "Traceback" not in flow.log.read_text()

        async with asyncio.timeout(30):
            while not _both_evicted(store):
                await asyncio.sleep(0.1)
        await flow.stop()
        _break_pages(store / FILE)
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


def _both_evicted(store: Path) -> bool:
    with contextlib.closing(sqlite3.connect(store / FILE)) as file:
        return bool(file.execute("SELECT count(*) = 2 FROM conversations").fetchone()[0])


def _break_pages(path: Path) -> None:
    """Overwrites every page except the first, which contains the names of the tables."""
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    pages = path.stat().st_size // 4096
    _overwrite(path, b"\xff" * 4096 * (pages - 1), 4096)
