"""Idle conversations leave memory, and come back from the store with the next message."""

import asyncio
import shutil
import sqlite3
import urllib.request
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from dataflow import unreadable
from dataflow.store.sqlite import FILE
from ops.nats_server import NatsServer
from ops.ports import free_port
from shared.bus import Bus
from shared.connection import CLOSED_EXIT_CODE
from tests.damaged_store import break_conversations
from tests.fakes.model import FakeModel
from tests.running import Running, answer_to, dataflow, question

EVICT_S = 2
PEOPLE = ("ada", "bob", "eve")


class Flow:
    """A dataflow that evicts conversations after two seconds, and its metrics."""

    def __init__(self, nats: NatsServer, home: Path, model: FakeModel) -> None:
        self.port = free_port()
        self.home = home
        self.running: Running = dataflow(
            home, nats.url, model.base_url,
            THREADWAX_EVICT_AFTER_S=str(EVICT_S), THREADWAX_HTTP_PORT=str(self.port),
        )  # fmt: skip

    async def start(self) -> None:
        self.running.log.unlink(missing_ok=True)
        self.running.start()
        await self.running.ready()

    def _read(self) -> str:
        url = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read(), "utf-8")

    async def count(self, name: str) -> float:
        metrics = await asyncio.to_thread(self._read)
        return next(float(line.split()[1]) for line in metrics.splitlines()
                    if line.startswith(f"threadwax_{name} "))  # fmt: skip

    async def until_all_evicted(self) -> None:
        async with asyncio.timeout(30):
            while await self.count("conversations_in_memory"):
                await asyncio.sleep(0.1)


@pytest.fixture
async def flow(nats: NatsServer, tmp_path: Path, fake_model: FakeModel) -> AsyncIterator[Flow]:
    flow = Flow(nats, tmp_path / "home", fake_model)
    await flow.start()
    yield flow
    flow.running.kill()


async def everybody_asks(bus: Bus, model: FakeModel, number: int) -> None:
    """Everybody asks a question; checks that the request contains the user's earlier ones."""
    for name in PEOPLE:
        await answer_to(bus, question(name, number, f"{name} {number}"))
        contents = [message["content"] for message in model.requests[-1]["messages"]]
        assert contents[1::2] == [f"{name} {n}" for n in range(number + 1)]


async def test_a_conversation_leaves_memory_and_comes_back(
    flow: Flow, bus: Bus, fake_model: FakeModel
) -> None:
    """This is done twice, so that a stored row is also updated."""
    for number in range(3):
        await everybody_asks(bus, fake_model, number)
        await flow.until_all_evicted()
    assert await flow.count("conversations_restored_total") == 2 * len(PEOPLE)


async def test_evicted_conversations_survive_a_kill_and_a_restart(
    flow: Flow, bus: Bus, fake_model: FakeModel
) -> None:
    """The process is killed while all are evicted, and again right after they were read."""
    await everybody_asks(bus, fake_model, 0)
    await flow.until_all_evicted()
    flow.running.kill()
    await flow.start()
    await everybody_asks(bus, fake_model, 1)
    flow.running.kill()
    await flow.start()
    await everybody_asks(bus, fake_model, 2)
    await flow.until_all_evicted()
    assert await flow.running.stop() == 0


async def test_a_lost_data_folder_is_rebuilt(flow: Flow, bus: Bus, fake_model: FakeModel) -> None:
    """Evicted conversations come back from the stream and the journal."""
    await everybody_asks(bus, fake_model, 0)
    await flow.until_all_evicted()
    assert await flow.running.stop() == 0
    shutil.rmtree(flow.home / "dataflow")
    await flow.start()
    await everybody_asks(bus, fake_model, 1)


async def test_a_damaged_file_is_set_aside(flow: Flow, bus: Bus, fake_model: FakeModel) -> None:
    """One message is logged; then everything is read again from the stream, and nothing is lost."""
    await everybody_asks(bus, fake_model, 0)
    assert await flow.running.stop() == 0
    (flow.home / FILE).write_bytes(b"no database " * 1000)
    await flow.start()
    assert "conversations.db is damaged (file is not a database" in flow.running.log.read_text()
    aside = flow.home / "dataflow" / "conversations.db.broken-1"
    assert aside.read_bytes() == b"no database " * 1000
    await everybody_asks(bus, fake_model, 1)


async def test_damage_that_is_found_at_run_time_ends_the_process_and_loses_nothing(
    flow: Flow, bus: Bus, fake_model: FakeModel
) -> None:
    """Claims can be read, so the process starts. The next process has all conversations."""
    await everybody_asks(bus, fake_model, 0)
    await flow.until_all_evicted()
    assert await flow.running.stop() == 0
    break_conversations(flow.home / FILE)
    await flow.start()
    assert flow.running.process is not None
    asked = question("ada", 1, "ada 1")
    answer = asyncio.create_task(answer_to(bus, asked))
    assert await asyncio.to_thread(flow.running.process.wait, 60) == CLOSED_EXIT_CODE
    assert "conversations.db is damaged" in flow.running.log.read_text()
    assert "Traceback" not in flow.running.log.read_text()
    await flow.start()
    assert "set aside as conversations.db.broken-1" in flow.running.log.read_text()
    assert (await answer).outcome == "answered"
    contents = [message["content"] for message in fake_model.requests[-1]["messages"]]
    assert contents[1::2] == ["ada 0", "ada 1"]


async def test_a_conversation_of_a_later_version_does_not_stop_the_dataflow(
    flow: Flow, bus: Bus, fake_model: FakeModel
) -> None:
    """The conversation starts over, its snapshot is kept in a file, and others are answered."""
    await everybody_asks(bus, fake_model, 0)
    await flow.until_all_evicted()
    later = b'{"v": 2, "memory": "of another shape"}'
    with closing(sqlite3.connect(flow.home / FILE)) as file, file:
        file.execute("UPDATE conversations SET saved = ? WHERE user LIKE '%ada'", (later,))
    assert await answer_to(bus, question("ada", 1, "hello again"))
    assert len(fake_model.requests[-1]["messages"]) == 2
    assert await answer_to(bus, question("bob", 1, "and me?"))
    assert len(fake_model.requests[-1]["messages"]) == 4
    (kept,) = (flow.home / unreadable.FOLDER).iterdir()
    assert kept.read_bytes() == later
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "was set aside: it begins again" in flow.running.log.read_text()
