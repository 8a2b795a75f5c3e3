"""Budgets in the real dataflow, with a real NATS server and a model that counts tokens."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from ops.nats import set_up_streams
from ops.nats_server import NatsServer
from shared.bus import Bus
from shared.messages import Ask, Place, Stop
from shared.replies import Reply
from tests.fakes.model import FakeModel
from tests.month import LONGEST_TEST, enough_of_the_month
from tests.running import Running, answer_to, dataflow, question

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # A test may have to wait for the next month.
    pytest.mark.timeout(120 + LONGEST_TEST.total_seconds()),
]

ANSWER_TOKENS = 1000
ROOM = Place(platform="test", space="S", channel="C1", audience="public")
FULL_ROOM = ROOM.model_copy(update={"channel": "C2"})
BUDGETS = {
    "each_user": {"tokens_per_day": 100_000},
    "users": {
        # Room for one call at a time; its answer uses far less.
        "test:two": {"tokens_per_month": 1900},
        "test:dollars": {"dollars_per_month": "0.015"},
    },
    "roles": {"test:guest": {"tokens_per_month": 1300}},
    "places": {"test:C1": {"tokens_per_month": 2500}, "test:C2": {"tokens_per_day": 1}},
}


@dataclass
class World:
    bus: Bus
    model: FakeModel
    flow: Running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_world(
    shared_nats: NatsServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    model = await FakeModel(usage={"prompt_tokens": 200, "completion_tokens": 100}).start()
    flow = dataflow(
        tmp_path_factory.mktemp("home"), shared_nats.url, model.base_url,
        THREADWAX_BUDGETS=json.dumps(BUDGETS), THREADWAX_ANSWER_TOKENS=str(ANSWER_TOKENS),
        THREADWAX_PRICES='{"fake": {"input": 1, "output": 10}}',
    ).start()  # fmt: skip
    bus = await Bus.connect(shared_nats.url, name="test")
    await flow.ready()
    yield World(bus, model, flow)
    await bus.close()
    flow.kill()
    await model.stop()


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _same_month() -> None:
    """The counters do not begin again during a test, whatever the date."""
    await enough_of_the_month()


@pytest_asyncio.fixture(loop_scope="module")
async def world(shared_world: World) -> AsyncIterator[World]:
    yield shared_world
    shared_world.model.may_finish = None


async def answers_to(world: World, *asks: Ask) -> list[Reply]:
    return await asyncio.gather(*(answer_to(world.bus, ask) for ask in asks))


def outcomes(replies: list[Reply]) -> list[str]:
    return sorted(reply.outcome for reply in replies)


async def until_asked(world: World, text: str) -> None:
    async with asyncio.timeout(30):
        while all(text not in json.dumps(request) for request in world.model.requests):
            await asyncio.sleep(0.02)


async def test_two_threads_at_once_do_not_both_pass_with_room_for_one(world: World) -> None:
    """The second one is refused while the first is in progress, and has room after it."""
    world.model.may_finish = asyncio.Event()
    threads = [Place(platform="test", channel="X", thread=t, audience="direct") for t in "ab"]
    first, second = (question("two", n, f"two {n}", place=threads[n]) for n in range(2))
    answering = asyncio.create_task(answer_to(world.bus, first))
    await until_asked(world, "two 0")
    refused = await answer_to(world.bus, second)
    assert refused.outcome == "refused"
    assert "before the ones in progress are answered" in refused.text
    world.model.may_finish.set()
    assert (await answering).outcome == "answered"
    third = await answer_to(world.bus, question("two", 2, "two 2", place=threads[1]))
    assert third.outcome == "answered"


async def test_three_people_share_the_budget_of_a_channel(world: World) -> None:
    """2,500 tokens have room for two calls at once, whoever asks; each then uses 300."""
    world.model.may_finish = asyncio.Event()
    asks = [question(name, 1, f"room {name}", place=ROOM) for name in ("ann", "ben", "cat")]
    waiting = [asyncio.create_task(answer_to(world.bus, ask)) for ask in asks]
    done, _ = await asyncio.wait(waiting, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    (refused,) = (task.result() for task in done)
    assert refused.outcome == "refused"
    assert refused.text.startswith("The budget of this channel for this month has")
    world.model.may_finish.set()
    replies = await asyncio.gather(*waiting)
    assert outcomes(replies) == ["answered", "answered", "refused"]
    late = await answer_to(world.bus, question("dan", 1, "room dan", place=ROOM))
    assert late.outcome == "answered"  # 600 tokens are used, and none are held
    elsewhere = ROOM.model_copy(update={"channel": "C9"})
    assert (
        await answer_to(world.bus, question("ann", 2, "not here", place=elsewhere))
    ).outcome == "answered"


async def test_a_stop_frees_the_room_of_a_place(world: World) -> None:
    """What was sent and said is counted, and no longer what could have come."""
    refused = await answer_to(world.bus, question("eve", 1, "never", place=FULL_ROOM))
    assert refused.outcome == "refused"
    assert refused.text.startswith("The budget of this channel for a day is 1 tokens, and")
    world.model.may_finish = asyncio.Event()
    ask = question("eve", 2, "stop this", place=ROOM)
    waiting = asyncio.create_task(answer_to(world.bus, ask))
    await until_asked(world, "stop this")
    fields = ask.model_dump(include={"user", "place", "said_at"})
    await world.bus.publish(Stop(id="eve-3", prompt_id=ask.id, **fields))
    stopped = await waiting
    assert stopped.outcome == "stopped"
    assert stopped.usage is None
    assert stopped.estimated_usage is not None
    assert stopped.estimated_usage.prompt_tokens > 0
    world.model.may_finish = None
    again = await answer_to(world.bus, question("eve", 4, "after it", place=ROOM))
    assert again.outcome == "answered"


async def test_a_role_has_a_budget_and_dollars_are_counted(world: World) -> None:
    """An answer uses 300 tokens and 0.0012 dollars, and reserves 1,000 tokens and 0.01 dollars."""
    guest = question("gus", 1, "guest", roles=("guest",))
    assert (await answer_to(world.bus, guest)).outcome == "answered"
    refused = await answer_to(world.bus, question("gus", 2, "guest again", roles=("guest",)))
    assert refused.outcome == "refused"
    assert refused.text.startswith("The budget of your role for this month has no room")
    member = await answer_to(world.bus, question("gus", 3, "a member now"))
    assert member.outcome == "answered"
    replies = [await answer_to(world.bus, question("dollars", n, f"dollars {n}")) for n in range(5)]
    assert [reply.outcome for reply in replies] == ["answered"] * 4 + ["refused"]
    assert "$0.0048 of $0.0150 are used" in replies[-1].text


async def test_kill_9_between_reservation_and_settlement_neither_doubles_nor_loses(
    tmp_path: Path,
) -> None:
    """One call is in progress at the kill. Afterwards it is answered once, and counted once."""
    server = NatsServer(tmp_path / "nats", port=0)
    await asyncio.to_thread(server.start)
    await set_up_streams(server.url)
    model = await FakeModel(usage={"prompt_tokens": 200, "completion_tokens": 100}).start()
    budgets = {
        "users": {"test:kill": {"tokens_per_month": 1900}},
        "places": {"test:K": {"tokens_per_month": 1900}},
    }
    place = Place(platform="test", channel="K", audience="direct")
    env = {
        "THREADWAX_BUDGETS": json.dumps(budgets),
        "THREADWAX_ANSWER_TOKENS": str(ANSWER_TOKENS),
    }
    bus = await Bus.connect(server.url, name="test")
    world = World(bus, model, dataflow(tmp_path / "home", server.url, model.base_url, **env))
    try:
        await world.flow.start().ready()
        used = await answer_to(bus, question("kill", 0, "before", place=place))
        assert used.outcome == "answered"
        model.may_finish = asyncio.Event()
        waiting = asyncio.create_task(
            answer_to(bus, question("kill", 1, "in progress", place=place), timeout_s=90)
        )
        await until_asked(world, "in progress")
        await asyncio.sleep(2)  # two snapshots
        world.flow.kill()
        model.may_finish = None
        await world.flow.start().ready()
        assert (await waiting).outcome == "answered"
        replies = [
            await answer_to(bus, question("kill", n, f"after {n}", place=place), timeout_s=90)
            for n in (2, 3)
        ]
        # 600 tokens are used, so there is room for one more call, and then no longer.
        assert [reply.outcome for reply in replies] == ["answered", "refused"]
        assert "Your budget for this month has" in replies[1].text
        assert "900 tokens of 1,900 tokens are used" in replies[1].text
        other = await answer_to(bus, question("kim", 1, "and I?", place=place), timeout_s=90)
        assert "The budget of this channel for this month has" in other.text
        assert "900 tokens of 1,900 tokens are used" in other.text
    finally:
        world.flow.kill()
        await bus.close()
        await model.stop()
        server.close()


async def test_budgets_can_be_added_and_removed_between_two_starts(tmp_path: Path) -> None:
    """The budget of the place is new in the store, then not used, and then used again."""
    server = NatsServer(tmp_path / "nats", port=0)
    await asyncio.to_thread(server.start)
    await set_up_streams(server.url)
    model = await FakeModel(usage={"prompt_tokens": 200, "completion_tokens": 100}).start()
    bus = await Bus.connect(server.url, name="test")
    budgets = {"places": {"test:C1": {"tokens_per_month": 1800}}}
    found = []
    try:
        for number, setting in enumerate(({}, budgets, {}, budgets)):
            flow = dataflow(
                tmp_path / "home", server.url, model.base_url,
                THREADWAX_ANSWER_TOKENS=str(ANSWER_TOKENS), THREADWAX_BUDGETS=json.dumps(setting),
            )  # fmt: skip
            await flow.start().ready()
            for part in range(2):
                ask = question("zoe", f"{number}-{part}", f"{number} {part}", place=ROOM)
                found.append((await answer_to(bus, ask, timeout_s=90)).outcome)
            await flow.stop()
    finally:
        flow.kill()
        await bus.close()
        await model.stop()
        server.close()
    # There is room for two answers. The last run remembers the second one's.
    assert found == [*["answered"] * 6, *["refused"] * 2]
