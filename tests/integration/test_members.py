"""Dataflow processes share users: they come, go, freeze and die, and nobody is lost or doubled."""

import asyncio
import os
import random
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Literal

import pytest

from ops.nats_server import NatsServer
from shared.bus import Bus
from tests.fakes.model import FakeModel
from tests.members import Members, Talk
from tests.postgres import Postgres

ROUNDS = int(os.environ.get("THREADWAX_TEST_MEMBER_ROUNDS", "1"))
SEED = int(os.environ.get("THREADWAX_TEST_MEMBER_SEED", "5"))
MEMBERS = 3
TALK_S = 1.5
"""How long people talk before and after a fault."""

PAUSE_S = 0.08 * ROUNDS
"""Between two questions: after 100 questions or so, the oldest would be summarized."""

FROZEN_S = 6.0
"""Longer than a member may be silent."""


Store = Literal["sqlite", "postgresql"]


@pytest.fixture
async def members(
    nats: NatsServer, tmp_path: Path, fake_model: FakeModel, store: Store, postgres: Postgres
) -> AsyncIterator[Members]:
    """They share one data folder, or have nothing in common but a database."""
    url = "" if store == "sqlite" else postgres.create(f"test-{uuid.uuid4().hex}")
    made = Members(tmp_path, nats.url, fake_model, url)
    for _ in range(MEMBERS):
        await made.add()
    yield made
    await made.close()


Fault = Callable[[Members, int], Awaitable[None]]


async def killed(members: Members, number: int) -> None:
    members.all[number].kill()
    await asyncio.sleep(0.5)
    await members.restart(number)


async def stopped(members: Members, number: int) -> None:
    assert await members.all[number].stop() == 0
    await members.restart(number)


async def frozen(members: Members, number: int) -> None:
    members.all[number].signal(signal.SIGSTOP)
    await asyncio.sleep(FROZEN_S)
    members.all[number].signal(signal.SIGCONT)


async def cut_off(members: Members, number: int) -> None:
    """From NATS, without a sign; what it sent meanwhile arrives late. It reaches its store."""
    members.proxies[number].pause()
    await asyncio.sleep(FROZEN_S)
    members.proxies[number].resume()


async def replaced(members: Members, number: int) -> None:
    """Gone for good, with its machine; later another one is added."""
    members.all.pop(number).kill()
    await members.proxies.pop(number).stop()
    await asyncio.sleep(FROZEN_S)
    await members.add()


STORES: list[Store] = ["sqlite", "postgresql"]
FAULTS = [killed, stopped, frozen, cut_off, replaced]
# Long runs try every fault on both stores, `make test` each fault on one.
CASES = [(fault, store) for fault in FAULTS for store in STORES] if ROUNDS > 1 else [
    (fault, STORES[number % 2]) for number, fault in enumerate(FAULTS)
]  # fmt: skip


@pytest.mark.timeout(240 + 40 * ROUNDS)
@pytest.mark.parametrize(("fault", "store"), CASES)
async def test_members_come_and_go_while_people_talk(
    nats: NatsServer, fake_model: FakeModel, members: Members, fault: Fault
) -> None:
    """Every question is answered once, and every conversation is whole."""
    rng = random.Random(SEED)
    bus = await Bus.connect(nats.url, name="test")
    talk, over = Talk(bus, fake_model), asyncio.Event()
    fake_model.delay_s = 0.1
    talking = asyncio.create_task(talk.until(over, PAUSE_S))
    for _ in range(ROUNDS):
        await asyncio.sleep(TALK_S)
        await fault(members, rng.randrange(MEMBERS))
    await asyncio.sleep(TALK_S)
    over.set()
    await talking
    await talk.everybody_remembers()
    questions = sum(talk.asked.values())
    sys.stderr.write(
        f"{questions} questions, longest wait {talk.longest_s:.1f} s, "
        f"{talk.wasted_calls} calls of the model in vain\n"
    )
    assert questions > len(talk.asked) * 3
    await members.stop()
    await bus.close()
