"""The dataflow as several processes: their number can change, and one of them can be killed."""

import asyncio
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dataflow.eviction.store import FILE
from ops.nats_server import NatsServer
from shared.bus import Bus
from tests.fakes.model import FakeModel
from tests.running import Running, answer_to, dataflow, question

USERS = [f"user{n}" for n in range(12)]


async def _everybody_asks(bus: Bus, number: int) -> None:
    await asyncio.gather(
        *(answer_to(bus, question(name, number, f"{name} {number}")) for name in USERS)
    )


async def _until_all_evicted(home: Path, *, questions: int) -> None:
    """Waits until every conversation is evicted with this many answered questions."""
    with closing(sqlite3.connect(home / "dataflow" / "recovery" / FILE)) as file:
        async with asyncio.timeout(30):
            while True:
                rows = [row[0] for row in file.execute("SELECT saved FROM conversations")]
                if [row.count(b'"answer"') for row in rows] == [questions] * len(USERS):
                    return
                await asyncio.sleep(0.1)


def _history(model: FakeModel, name: str, number: int) -> list[str]:
    """The user's earlier questions in the request for this one."""
    for request in reversed(model.requests):
        contents = [message["content"] for message in request["messages"]]
        if contents[-1] == f"{name} {number}":
            return contents[1:-1:2]
    raise AssertionError(f"{name} {number} was never asked")


@pytest.mark.timeout(180)
async def test_conversations_survive_a_change_of_the_number_of_processes(
    nats: NatsServer, tmp_path: Path, fake_model: FakeModel
) -> None:
    """One process, then three, then two use one recovery store; users are evicted in between."""
    bus = await Bus.connect(nats.url, name="test")
    for number, processes in enumerate((1, 3, 2)):
        flow = dataflow(
            tmp_path / "home", nats.url, fake_model.base_url,
            "dataflow", f"--processes={processes}",
            THREADWAX_EVICT_AFTER_S="2",
        )  # fmt: skip
        flow.log = tmp_path / f"flow{number}.log"
        flow.start()
        await flow.ready()
        await _everybody_asks(bus, number)
        for name in USERS:
            assert _history(fake_model, name, number) == [f"{name} {n}" for n in range(number)]
        await _until_all_evicted(tmp_path / "home", questions=number + 1)
        assert await flow.stop() == 0
    await bus.close()


def _worker_processes(flow: Running) -> list[int]:
    assert flow.process is not None
    children = Path(f"/proc/{flow.process.pid}/task/{flow.process.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


@pytest.mark.timeout(180)
async def test_a_killed_process_of_a_cluster_is_replaced_and_nothing_is_lost(
    nats: NatsServer, tmp_path: Path, fake_model: FakeModel
) -> None:
    """One process is killed with `kill -9` while everybody waits for an answer."""
    bus = await Bus.connect(nats.url, name="test")
    flow = dataflow(
        tmp_path / "home", nats.url, fake_model.base_url, "dataflow", "--processes=2"
    ).start()
    await flow.ready()
    await _everybody_asks(bus, 0)
    fake_model.delay_s = 0.5
    waiting = asyncio.create_task(_everybody_asks(bus, 1))
    await asyncio.sleep(0.3)
    os.kill(_worker_processes(flow)[1], signal.SIGKILL)
    await waiting
    fake_model.delay_s = 0
    await _everybody_asks(bus, 2)
    for name in USERS:
        assert _history(fake_model, name, 2) == [f"{name} 0", f"{name} 1"]
    pids = _worker_processes(flow)
    assert await flow.stop() == 0
    await bus.close()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


async def test_a_second_dataflow_on_the_same_folder_names_the_first(
    nats: NatsServer, tmp_path: Path, fake_model: FakeModel
) -> None:
    """Two dataflows would destroy the recovery store."""
    first = dataflow(tmp_path / "home", nats.url, fake_model.base_url).start()
    await first.ready()
    second = dataflow(tmp_path / "home", nats.url, fake_model.base_url)
    second.log = tmp_path / "second.log"
    second.start()
    assert second.process is not None
    assert first.process is not None
    assert await asyncio.to_thread(second.process.wait, 60) != 0
    assert f"process {first.process.pid} already runs the conversations flow" in (
        second.log.read_text()
    )
    assert await first.stop() == 0
