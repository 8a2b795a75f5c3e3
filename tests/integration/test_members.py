"""Dataflow processes share users: they come, go, freeze and die, and nobody is lost or doubled."""

import asyncio
import os
import random
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

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


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The DATABASE_URL of several machines, or empty: members share one data folder."""
    if request.param == "sqlite":
        return ""
    server: Postgres = request.getfixturevalue("postgres")
    return server.create(f"test-{uuid.uuid4().hex}")


@pytest.fixture
async def members(
    nats: NatsServer, tmp_path: Path, fake_model: FakeModel, store_url: str
) -> AsyncIterator[Members]:
    made = Members(tmp_path, nats.url, fake_model, store_url)
    for _ in range(MEMBERS):
        await made.add()
    yield made
    await made.close()


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


@pytest.mark.timeout(240 + 40 * ROUNDS)
@pytest.mark.parametrize("fault", [killed, stopped, frozen, cut_off, replaced])
async def test_members_come_and_go_while_people_talk(
    nats: NatsServer, fake_model: FakeModel, members: Members, fault: object
) -> None:
    """Every question is answered once, and every conversation is whole."""
    assert callable(fault)
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
