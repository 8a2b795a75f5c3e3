"""Several dataflow processes on one machine: their number can change, and one can be killed.

`test_members.py` lets processes come and go while people talk.
"""

import asyncio
import itertools
import json
import os
import re
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from dataflow.store.sqlite import FILE
from ops.nats_server import NatsServer
from shared.bus import Bus
from shared.lifecycle import CANNOT_START
from shared.messages import Place
from shared.partitioning import DEFAULT_PARTITIONS
from shared.replies import Reply
from tests.fakes.model import FakeModel
from tests.month import LONGEST_TEST, enough_of_the_month
from tests.running import Running, answer_to, dataflow, question

USERS = [f"user{n}" for n in range(12)]


async def _everybody_asks(bus: Bus, number: int) -> None:
    await asyncio.gather(
        *(answer_to(bus, question(name, number, f"{name} {number}")) for name in USERS)
    )


async def _until_all_stored(home: Path, *, questions: int) -> None:
    """Waits until every conversation is stored with this many answered questions."""
    with closing(sqlite3.connect(home / FILE)) as file:
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
    """One process, then three, then two use one store; conversations leave memory in between."""
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
        await _until_all_stored(tmp_path / "home", questions=number + 1)
        assert await flow.stop() == 0
    await bus.close()


def _worker_processes(flow: Running) -> list[int]:
    assert flow.process is not None
    children = Path(f"/proc/{flow.process.pid}/task/{flow.process.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


@pytest.mark.timeout(180)
async def test_a_killed_process_is_replaced_and_nothing_is_lost(
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


ROOMS = [Place(platform="test", space="S", channel=name, audience="public") for name in "AB"]
AT_ONCE = 4
"""How many calls of at most 1,150 tokens have room in the budget of a room at once."""


async def _asked(bus: Bus, number: int, room: Place) -> list[asyncio.Task[Reply]]:
    return [
        asyncio.create_task(
            answer_to(bus, question(name, f"{room.channel}{number}", "hi", place=room))
        )
        for name in USERS
    ]


def _used(replies: Iterable[Reply]) -> set[str]:
    """How many tokens are used, as the refusals say that do not wait for a call in progress."""
    refusals = [reply.text for reply in replies if "room for this question" in reply.text]
    return {found[1] for text in refusals if (found := re.search(r"([0-9,]+) tokens of", text))}


@pytest.mark.timeout(300 + LONGEST_TEST.total_seconds())
async def test_people_in_different_processes_share_the_budget_of_a_place(
    nats: NatsServer, tmp_path: Path
) -> None:
    """Not one call more than has room begins, and every token is counted, in any process."""
    await enough_of_the_month()
    model = await FakeModel(usage={"prompt_tokens": 200, "completion_tokens": 100}).start()
    limits = {"tokens_per_month": AT_ONCE * 1150}
    settings = {
        "THREADWAX_BUDGETS": json.dumps({"places": {"test:A": limits, "test:B": limits}}),
        "THREADWAX_ANSWER_TOKENS": "1000",
    }
    bus = await Bus.connect(nats.url, name="test")
    try:
        flow = dataflow(
            tmp_path / "home", nats.url, model.base_url, "dataflow", "--processes=3", **settings
        ).start()
        await flow.ready()
        model.may_finish = asyncio.Event()
        waiting = {room.channel: await _asked(bus, 0, room) for room in ROOMS}
        all_tasks = [task for tasks in waiting.values() for task in tasks]
        async with asyncio.timeout(25):
            while len(model.requests) + sum(task.done() for task in all_tasks) < len(all_tasks):
                await asyncio.sleep(0.05)
        assert len(model.requests) == AT_ONCE * len(ROOMS)
        model.may_finish.set()
        for tasks in waiting.values():
            outcomes = Counter(reply.outcome for reply in await asyncio.gather(*tasks))
            assert outcomes == {"answered": AT_ONCE, "refused": len(USERS) - AT_ONCE}

        answered = AT_ONCE
        for number in itertools.count(1):
            replies = [
                await answer_to(bus, question(name, f"A{number}", "hi", place=ROOMS[0]))
                for name in USERS
            ]
            answered += sum(reply.outcome == "answered" for reply in replies)
            if used := _used(replies):
                break
        assert used == {f"{300 * answered:,}"}
        assert await flow.stop() == 0

        flow = dataflow(tmp_path / "home", nats.url, model.base_url, **settings)
        flow.log = tmp_path / "second.log"
        await flow.start().ready()
        late = await answer_to(bus, question(USERS[0], "late", "hi", place=ROOMS[0]))
        assert _used([late]) == used
        other = await answer_to(bus, question(USERS[0], "other", "hi", place=ROOMS[1]))
        assert other.outcome == "answered"
        assert await flow.stop() == 0
    finally:
        flow.kill()
        await bus.close()
        await model.stop()


def _held(flow: Running) -> int:
    """How many partitions it has served last, by its log."""
    lines = [line for line in flow.log.read_text().splitlines() if "serves partitions" in line]
    return int(json.loads(lines[-1])["held"]) if lines else 0


async def test_a_second_dataflow_on_the_same_folder_shares_the_users(
    nats: NatsServer, tmp_path: Path, fake_model: FakeModel
) -> None:
    """It gets its half; when the first one stops, it has everybody, and nothing is forgotten."""
    bus = await Bus.connect(nats.url, name="test")
    first = dataflow(tmp_path / "home", nats.url, fake_model.base_url)
    second = dataflow(tmp_path / "home", nats.url, fake_model.base_url)
    second.log = tmp_path / "second.log"
    try:
        await first.start().ready()
        await _everybody_asks(bus, 0)
        assert _held(first) == DEFAULT_PARTITIONS
        await second.start().ready()
        async with asyncio.timeout(30):
            while _held(second) != DEFAULT_PARTITIONS // 2:
                await asyncio.sleep(0.05)
        await _everybody_asks(bus, 1)
        assert await first.stop() == 0
        await _everybody_asks(bus, 2)
        assert _held(second) == DEFAULT_PARTITIONS
        for name in USERS:
            assert _history(fake_model, name, 2) == [f"{name} 0", f"{name} 1"]
        assert len(fake_model.requests) == 3 * len(USERS)
        assert await second.stop() == 0
    finally:
        first.kill()
        second.kill()
        await bus.close()


async def test_a_dataflow_with_another_store_is_refused_and_the_first_goes_on(
    nats: NatsServer, tmp_path: Path, fake_model: FakeModel
) -> None:
    """Each would have a part of the conversations, and nobody would know which."""
    bus = await Bus.connect(nats.url, name="test")
    first = dataflow(tmp_path / "home", nats.url, fake_model.base_url)
    other = dataflow(tmp_path / "other", nats.url, fake_model.base_url)
    try:
        await first.start().ready()
        await _everybody_asks(bus, 0)
        other.start()
        assert other.process is not None
        assert await asyncio.to_thread(other.process.wait, 60) == CANNOT_START
        said = other.log.read_text()
        assert "already serves the questions on this NATS server from another store" in said
        assert "Give both the same DATABASE_URL" in said
        assert "Traceback" not in said
        await _everybody_asks(bus, 1)
        assert first.process is not None
        assert first.process.poll() is None
        for name in USERS:
            assert _history(fake_model, name, 1) == [f"{name} 0"]
        assert await first.stop() == 0
    finally:
        first.kill()
        other.kill()
        await bus.close()


async def test_of_two_stores_that_start_at_once_one_is_left(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """Neither of them could ask the other before; at most one of them goes on to serve."""
    flows = [dataflow(tmp_path / name, nats.url, fake_model.base_url) for name in ("one", "other")]
    try:
        for flow in flows:
            flow.start()
        async with asyncio.timeout(90):
            while not (ended := [one for one in flows if one.process and one.process.poll()]):
                await asyncio.sleep(0.05)
        (refused,) = ended
        assert refused.process is not None
        assert refused.process.returncode == CANNOT_START
        assert "from another store" in refused.log.read_text()
        assert (await answer_to(bus, question("ada", 1, "hello"))).outcome == "answered"
    finally:
        for flow in flows:
            flow.kill()
