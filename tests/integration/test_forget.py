"""A user is forgotten: nothing that they said is left in any file, and others lose nothing."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dataflow.erasing.erasing import DONE
from ops.nats_server import NatsServer
from shared import names, user_names
from shared.bus import Bus
from shared.messages import Configure
from tests.fakes.model import FakeModel
from tests.forgetting import EVICT_S, MARKER, OTHERS, World, files_with
from tests.running import answer_to, dataflow, direct, question


@pytest.fixture
async def world(
    nats: NatsServer, bus: Bus, fake_model: FakeModel, tmp_path: Path
) -> AsyncIterator[World]:
    flow = dataflow(
        tmp_path / "home", nats.url, fake_model.base_url, THREADWAX_EVICT_AFTER_S=str(EVICT_S)
    )
    world = World(bus, fake_model, tmp_path, flow)
    await world.start()
    yield world
    world.flow.kill()


async def test_nothing_is_left_of_a_forgotten_user(world: World) -> None:
    """In any store; and nothing of another user is lost."""
    await world.says_everything("ada", MARKER)
    await world.says_everything("bob", OTHERS)
    before = await world.messages("bob")
    await world.until_everywhere(MARKER)
    reply = await world.forget("ada")
    assert (reply.outcome, reply.text) == ("answered", DONE)
    assert reply.erased is not None
    assert files_with(world.folder, MARKER) == []
    assert await world.messages("bob") == before
    await answer_to(world.bus, question("bob", 99, "what did I say?"))
    assert OTHERS in str(world.model.requests[-1]["messages"])
    await answer_to(world.bus, question("ada", 99, "who am I?"))
    assert len(world.model.requests[-1]["messages"]) == 2


async def test_pending_questions_are_withdrawn_without_words(world: World) -> None:
    """The question in progress, and the one that waits for it: each has a journaled reply."""
    world.model.delay_s = 30
    asked = [question("ada", number, f"{number} {MARKER}") for number in (1, 2)]
    for ask in asked:
        await world.bus.publish(ask)
    async with asyncio.timeout(20):
        while not world.model.requests:
            await asyncio.sleep(0.05)
    reply = await world.forget("ada")
    assert reply.outcome == "answered"
    for ask in asked:
        stored = await world.bus.stored_reply(ask.user, ask.id)
        assert stored is not None
        assert (stored.reply.outcome, stored.reply.prompt_text) == ("withdrawn", "")
    assert files_with(world.folder, MARKER) == []
    world.model.delay_s = 0
    await answer_to(world.bus, question("ada", 3, "hello"))


async def test_a_question_that_comes_again_is_not_answered_again(world: World) -> None:
    """The server has lost its list of ids: a platform's redelivery is stored once more."""
    first = question("ada", 1, f"hello {MARKER}")
    await answer_to(world.bus, first)
    await world.forget("ada")
    await world.bus.js.publish(names.prompt_subject(first.user), first.wire())
    again = await world.bus.reply_when_stored(first.user, first.id, timeout_s=20)
    assert again is not None
    assert (again.outcome, again.text, again.prompt_text) == ("withdrawn", "", "")
    assert len(world.model.requests) == 1


async def test_an_operator_forgets_silently(world: World) -> None:
    await answer_to(world.bus, question("ada", 1, MARKER))
    silent = world.forget_event("ada").model_copy(update={"silent": True})
    reply = await answer_to(world.bus, silent, timeout_s=60)
    assert (reply.outcome, reply.text) == ("withdrawn", "")
    assert reply.erased is not None
    assert files_with(world.folder, MARKER) == []


async def test_a_choice_about_privacy_outlives_it(world: World) -> None:
    where = {"user": user_names.user_of("test", "ada"), "place": direct("ada")}
    no = Configure(
        id="ada-c", settings={"training": "no"}, said_at=datetime.now(UTC), **where,
    )  # fmt: skip
    await world.bus.publish(no)
    await world.forget("ada")
    kept = (await world.messages("ada"))[names.PROMPTS]
    assert [b"training" in data for _, data in kept] == [True, False]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", range(4))
async def test_a_killed_flow_goes_on_forgetting(world: World, nats: NatsServer, seed: int) -> None:
    """Whenever it is killed; then the whole stream is read again by an empty store."""
    random_ = random.Random(seed)
    await world.says_everything("ada", MARKER)
    await world.says_everything("bob", OTHERS)
    before = await world.messages("bob")
    event = world.forget_event("ada")
    await world.bus.publish(event)
    for _ in range(6):
        await asyncio.sleep(random_.uniform(0, 1.5))
        world.flow.kill()
        await world.start()
    reply = await world.bus.reply_when_stored(event.user, event.id, timeout_s=60)
    assert reply is not None
    assert files_with(world.folder, MARKER) == []
    assert await world.messages("bob") == before
    world.flow.kill()
    nats.kill()
    nats.start()
    await world.start()
    await answer_to(world.bus, question("ada", 98, "who am I?"))
    assert len(world.model.requests[-1]["messages"]) == 2
    world.flow.kill()
    async with asyncio.timeout(20):
        folder = world.home / "dataflow"
        while folder.exists():  # a process that was killed may still close its files
            shutil.rmtree(folder, ignore_errors=True)
            await asyncio.sleep(0.1)
    await world.start()
    await answer_to(world.bus, question("ada", 99, "and now?"))
    assert len(world.model.requests[-1]["messages"]) == 4
    assert files_with(world.folder, MARKER) == []
    # Dead letters are stored again, if that is more than two minutes after the first time.
    after = await world.messages("bob")
    assert {stream: set(found) for stream, found in after.items()} == {
        stream: set(found) for stream, found in before.items()
    }
