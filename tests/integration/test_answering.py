"""Questions that end before the model is asked, and replies that cannot be stored."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from dataflow import answer as answer_module
from dataflow.answer import NO_ROOM
from dataflow.answering import Answering
from dataflow.effects import INTERNAL, CallModel, Cancel
from dataflow.journal_capacity import JournalCapacity
from dataflow.model.client import ModelClient
from dataflow.model.dialects import DIALECTS
from dataflow.model.endpoint import Endpoint
from dataflow.request import Request
from shared import names
from shared.bus import Bus
from shared.replies import Journaled, Outcome, Reply
from tests.fakes.model import FakeModel
from tests.running import question

ASKED = question("ada", 0, "hello")
CALL = CallModel(ASKED, Request(({"role": "user", "content": "hello"},), 10), check_journal=False)


@pytest.fixture
async def model(fake_model: FakeModel) -> AsyncIterator[ModelClient]:
    model = ModelClient(
        lambda: Endpoint(fake_model.base_url, "key", "fake", DIALECTS["vllm"]),
        answer_tokens=50, give_up_after_s=20.0, silence_s=20.0, rng=random.Random(1),
    )  # fmt: skip
    yield model
    await model.close()


async def fill_the_journal(bus: Bus) -> None:
    config = (await bus.js.stream_info(names.REPLIES)).config
    await bus.js.update_stream(config.evolve(max_bytes=1 << 20))
    for number in range(10):
        await bus.js.publish(f"replies.test.eve.ballast-{number}", b"x" * 100_000)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("outcome", ["withdrawn", "stopped", None])
async def test_a_question_that_ended_before_its_model_call_is_not_asked(
    bus: Bus, model: ModelClient, fake_model: FakeModel, outcome: Outcome | None, *, full: bool
) -> None:
    """The reply keeps its outcome even if the journal is nearly full: a notice would show it."""
    if full:
        await fill_the_journal(bus)
    capacity = JournalCapacity(bus)
    watching = asyncio.create_task(capacity.watch())
    async with asyncio.timeout(20):
        while capacity.nearly_full != full:
            await asyncio.sleep(0.01)
    answering = Answering(bus, model, capacity)
    replied: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    effects = [Cancel(ASKED.id, outcome)] if outcome else []
    answering.take(
        [(ASKED.user, effect) for effect in (CALL, *effects)],
        lambda _, journaled: replied.set_result(journaled.reply),
    )
    async with asyncio.timeout(20):
        reply = await replied
    watching.cancel()
    assert Journaled(reply) == await bus.stored_reply(ASKED.user, ASKED.id)
    if outcome:
        assert (reply.outcome, reply.text) == (outcome, "")
    elif full:
        assert (reply.outcome, reply.text) == ("failed", NO_ROOM)
    else:
        assert reply.outcome == "answered"
    assert bool(fake_model.requests) == (outcome is None and not full)


@pytest.mark.parametrize("is_abandoned", [False, True])
async def test_the_model_is_not_asked_while_others_may_answer(
    bus: Bus, model: ModelClient, fake_model: FakeModel, *, is_abandoned: bool
) -> None:
    """The process was cut off. If it has lost the user, it never asks."""
    answering = Answering(bus, model, JournalCapacity(bus))
    certain = asyncio.Event()

    async def until_certain() -> None:
        await certain.wait()

    answering.until_certain = until_certain
    replied = asyncio.Event()
    answering.take([(ASKED.user, CALL)], lambda *_: replied.set())
    await asyncio.sleep(0.3)
    assert not fake_model.requests
    if is_abandoned:
        answering.abandon([ASKED.user])
    certain.set()
    async with asyncio.timeout(20):
        while not (answering.idle if is_abandoned else replied.is_set()):
            await asyncio.sleep(0.01)
    assert len(fake_model.requests) == (not is_abandoned)


@pytest.mark.parametrize("failures", [1, 3])
async def test_a_failure_after_the_model_call_becomes_a_journaled_notice(
    bus: Bus, model: ModelClient, failures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No reply is reported to the conversation before the notice is stored."""
    monkeypatch.setattr(answer_module, "JOURNAL_AGAIN_S", 0.1)
    journal = Bus.journal
    left = failures

    async def defective(self: Bus, reply: Reply) -> Journaled:
        nonlocal left
        if left:
            left -= 1
            raise RuntimeError("a defect, as ordered")
        return await journal(self, reply)

    monkeypatch.setattr(Bus, "journal", defective)
    reported: asyncio.Future[Journaled] = asyncio.get_running_loop().create_future()
    answering = Answering(bus, model, JournalCapacity(bus))
    answering.take([(ASKED.user, CALL)], lambda _, journaled: reported.set_result(journaled))
    async with asyncio.timeout(20):
        journaled = await reported
    assert journaled == await bus.stored_reply(ASKED.user, ASKED.id)
    assert (journaled.reply.outcome, journaled.reply.text) == ("failed", INTERNAL)
