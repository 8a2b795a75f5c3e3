"""Before the first text, people see a status with the reason; with a real NATS server."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from nats.aio.msg import Msg

from dataflow import answering as answering_module
from dataflow import draft as draft_module
from dataflow.answering import Answering
from dataflow.effects import CallModel, Cancel, Settle, Wait
from dataflow.images import Images
from dataflow.journal_capacity import JournalCapacity
from dataflow.model.client import ModelClient
from dataflow.model.dialects import DIALECTS
from dataflow.model.endpoint import Endpoint
from dataflow.model.status import Queued, sentence
from dataflow.request import Request
from shared import metrics
from shared.blobs import put_blob
from shared.bus import Bus
from shared.messages import Attachment
from shared.replies import Partial, Reply
from tests.fakes.model import FakeModel, Fault
from tests.running import question

GIVE_UP_S = 20.0


class World:
    """Answers questions without a dataflow, and collects the partials that adapters would get."""

    def __init__(self, bus: Bus, model: ModelClient) -> None:
        self.bus = bus
        self.answering = Answering(bus, model, JournalCapacity(bus))
        self.partials: list[Partial] = []

    def ask(self, name: str, **fields: Any) -> "asyncio.Task[Reply]":
        ask = question(name, 0, "hello", **fields)
        request = Request(({"role": "user", "content": "hello"},), 10)
        replied: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.answering.take(
            [(ask.user, CallModel(ask, request, check_journal=False))],
            lambda _, journaled: replied.set_result(journaled.reply),
        )
        return asyncio.create_task(_within(replied))

    def queue(self, name: str, queued: Queued = "thread") -> None:
        ask = question(name, 0, "hello")
        self.answering.take([(ask.user, Wait(ask, queued))], lambda *_: None)

    def cancel(self, name: str) -> None:
        ask = question(name, 0, "hello")
        self.answering.take([(ask.user, Cancel(ask.id, "stopped"))], lambda *_: None)

    @property
    def statuses(self) -> list[str]:
        return [partial.status for partial in self.partials if partial.status]

    async def until(self, status: str) -> None:
        async with asyncio.timeout(20):
            while status not in self.statuses:
                await asyncio.sleep(0.01)


async def _within(replied: "asyncio.Future[Reply]") -> Reply:
    async with asyncio.timeout(60):
        return await replied


@pytest.fixture
async def world(
    bus: Bus, fake_model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """Statuses come after 0.3 s, and at most every 0.1 s."""
    monkeypatch.setattr(answering_module, "STATUS_AFTER_S", 0.3)
    monkeypatch.setattr(draft_module, "STATUS_EVERY_S", 0.1)
    model = ModelClient(
        lambda: Endpoint(fake_model.base_url, "key", "fake", DIALECTS["vllm"]),
        answer_tokens=50, give_up_after_s=GIVE_UP_S, silence_s=20.0, rng=random.Random(1),
    )  # fmt: skip
    world = World(bus, model)

    async def see(message: Msg) -> None:
        world.partials.append(Partial.model_validate_json(message.data))

    await bus.watch("partials.>", see)
    await bus.client.flush()
    yield world
    await world.answering.stop(0)
    await model.close()


FALLBACK = sentence("fallback", GIVE_UP_S)
SLOW, THINKING, OVERLOADED, UNREACHABLE, PICTURES, THREAD, LIMIT = (
    sentence(waiting, GIVE_UP_S)
    for waiting in (
        "slow", "thinking", "overloaded", "unreachable", "pictures", "thread", "limit",
    )
)  # fmt: skip


async def test_a_slow_model_is_reported_once(world: World, fake_model: FakeModel) -> None:
    """The status has no text; the first text replaces it."""
    fake_model.delay_s = 1.5
    fake_model.piece_chars, fake_model.pause_s = 4, 0.1
    reply = await world.ask("ada")
    assert reply.outcome == "answered"
    assert world.statuses == [SLOW]
    first = world.partials[0]
    assert (first.text, first.status, first.prompt_id) == ("", SLOW, reply.prompt_id)
    assert all(partial.text and not partial.status for partial in world.partials[1:])
    sequences = [partial.sequence for partial in world.partials]
    assert sequences == sorted(set(sequences))


async def test_a_quick_answer_has_no_status(world: World) -> None:
    await world.ask("ada")
    await asyncio.sleep(0.5)
    assert world.statuses == []


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault(status=429, headers={"Retry-After": "2"}), OVERLOADED),
        (Fault(status=503, headers={"Retry-After": "2"}), OVERLOADED),
    ],
)
async def test_a_retried_question_says_why(
    world: World, fake_model: FakeModel, fault: Fault, status: str
) -> None:
    fake_model.faults.append(fault)
    assert (await world.ask("ada")).outcome == "answered"
    assert world.statuses == [status]


async def test_a_question_that_waits_for_a_pause_says_why(
    world: World, fake_model: FakeModel
) -> None:
    """The request of the waiting question has not been sent yet."""
    fake_model.faults.append(Fault(status=429, headers={"Retry-After": "4"}))
    first = world.ask("ada")
    await world.until(OVERLOADED)
    await world.ask("bob")
    await first
    assert world.statuses == [OVERLOADED, OVERLOADED]


async def test_an_endpoint_that_is_down_is_reported(world: World, fake_model: FakeModel) -> None:
    port = fake_model.port
    await fake_model.stop()
    answer = world.ask("ada")
    await world.until(UNREACHABLE)
    await fake_model.start(port)
    assert (await answer).outcome == "answered"


async def test_a_slow_fallback_is_reported(world: World, fake_model: FakeModel) -> None:
    """The status names the fallback, because the question no longer waits for the first model."""
    fake_model.delay_s = 1.0
    away = FakeModel()
    await away.start()
    address = away.base_url
    await away.stop()
    model = ModelClient(
        lambda: Endpoint(address, "key", "first", DIALECTS["vllm"]),
        fallback=Endpoint(fake_model.base_url, "key", "second", DIALECTS["vllm"]),
        answer_tokens=50, give_up_after_s=GIVE_UP_S, silence_s=20.0, rng=random.Random(1),
    )  # fmt: skip
    world.answering._model = model
    assert (await world.ask("ada")).outcome == "answered"
    assert world.statuses == [FALLBACK]
    await model.close()


async def test_a_new_reason_is_a_new_status(world: World, fake_model: FakeModel) -> None:
    fake_model.delay_s = 0.8
    fake_model.piece_chars, fake_model.pause_s = 4, 0.15
    fake_model.reply = lambda _: "<think>hm, hm, hm, hm</think>yes"
    assert (await world.ask("ada")).text == "yes"
    assert world.statuses == [SLOW, THINKING]


async def test_a_question_that_waits_to_send_its_pictures_says_so(
    world: World, fake_model: FakeModel
) -> None:
    fake_model.delay_s = 1.5
    world.answering._images = Images(world.bus, in_flight_bytes=10, question_bytes=10)
    await put_blob(world.bus, "test-0", b"12345678")
    picture = Attachment(name="0.png", media_type="image/png", blob="test-0")
    answers = [world.ask(name, attachments=(picture,)) for name in ("ada", "bob")]
    await asyncio.gather(*answers)
    assert PICTURES in world.statuses


async def test_no_status_comes_after_the_reply(world: World, fake_model: FakeModel) -> None:
    """There is no status after a stop, either."""
    fake_model.delay_s = 30.0
    answer = world.ask("ada")
    await world.until(SLOW)
    world.cancel("ada")
    assert (await answer).outcome == "stopped"
    count = len(world.partials)
    await asyncio.sleep(0.5)
    assert len(world.partials) == count


async def test_reasoning_that_was_shown_is_not_in_the_next_partial(
    world: World, fake_model: FakeModel
) -> None:
    """The next partial counts as a new attempt, so adapters replace the text."""
    fake_model.piece_chars, fake_model.pause_s = 4, 0.12
    fake_model.reply = lambda _: "hm, hm, hm\n</think>\n\nyes, yes, yes"
    assert (await world.ask("ada")).text == "yes, yes, yes"
    attempts = {partial.attempt for partial in world.partials}
    assert attempts == {1, 2}
    assert all("hm" not in p.text for p in world.partials if p.attempt == 2)


async def test_token_counts_become_metrics(world: World, fake_model: FakeModel) -> None:
    """A count that the endpoint does not send does not change its metric."""

    def counted() -> tuple[float, float]:
        labels = ("cached", "reasoning")
        cached, reasoning = (metrics.tokens.labels(label)._value.get() for label in labels)
        return cached, reasoning

    before = counted()
    await world.ask("ada")
    assert counted() == before
    fake_model.usage = {"prompt_cache_hit_tokens": 7, "reasoning_tokens": 3}
    reply = await world.ask("bob")
    assert reply.usage is not None
    assert (reply.usage.cached_tokens, reply.usage.reasoning_tokens) == (7, 3)
    assert counted() == (before[0] + 7, before[1] + 3)


async def test_a_question_that_is_queued_says_why(world: World, fake_model: FakeModel) -> None:
    """There is one status per reason; the model call then continues the same draft."""
    fake_model.delay_s = 0.6
    world.queue("ada")
    await world.until(THREAD)
    world.queue("ada", "limit")
    await world.until(LIMIT)
    assert [partial.early for partial in world.partials] == [True, False]
    assert (await world.ask("ada")).outcome == "answered"
    assert world.statuses == [THREAD, LIMIT, SLOW]
    assert not any(partial.early for partial in world.partials[1:])
    sequences = [partial.sequence for partial in world.partials]
    assert sequences == sorted(set(sequences))


async def test_the_time_in_the_queue_counts(world: World, fake_model: FakeModel) -> None:
    """The time before the first status starts when the question is queued."""
    fake_model.delay_s = 0.25
    world.queue("ada")
    await asyncio.sleep(0.25)
    assert (await world.ask("ada")).outcome == "answered"
    assert world.statuses == [SLOW]


@pytest.mark.parametrize("end", ["answer", "stop", "settle"])
async def test_a_short_time_in_the_queue_is_not_reported(world: World, end: str) -> None:
    """After an answer, a stop or a settled question there is no status either."""
    world.queue("ada")
    if end == "answer":
        await world.ask("ada")
    elif end == "stop":
        world.cancel("ada")
    else:
        ask = question("ada", 0, "hello")
        world.answering.take([(ask.user, Settle(ask, "stopped", ""))], lambda *_: None)
    await asyncio.sleep(0.5)
    assert world.statuses == []
    assert not world.answering._queued
