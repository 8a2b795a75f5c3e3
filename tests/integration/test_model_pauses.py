"""An endpoint that is overloaded or down: one pause for all calls, and a fallback endpoint."""

import asyncio
import random
import time
from collections.abc import AsyncIterator

import pytest

from dataflow.model import client as client_module
from dataflow.model.answer_notes import FALLBACK
from dataflow.model.dialects import DIALECTS
from dataflow.model.endpoint import Endpoint
from dataflow.model.overload_pause import OverloadPause
from tests.asking import Asker, MakeAsker
from tests.fakes.model import FakeModel, Fault

ANSWER = "answer 2 to: hello"


async def test_many_questions_share_one_pause(asker: MakeAsker, fake_model: FakeModel) -> None:
    """While the endpoint is overloaded, one call tries on behalf of all."""
    one = asker()
    fake_model.always = Fault(status=429, headers={"Retry-After": "1"})
    first = asyncio.create_task(one.ask())
    async with asyncio.timeout(10):
        while "overloaded" not in one.waits:
            await asyncio.sleep(0.01)
    others = [asyncio.create_task(one.ask()) for _ in range(20)]
    await asyncio.sleep(0.3)
    assert len(fake_model.requests) == 1
    fake_model.always = None
    assert await asyncio.gather(first, *others) == [ANSWER] * 21
    assert len(fake_model.requests) == 22
    assert fake_model.times[1] - fake_model.times[0] >= 1.0


async def test_an_endpoint_without_retry_after_is_not_flooded(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    """Ten questions try at the same time for four seconds."""
    fake_model.always = Fault(status=429)
    one = asker(give_up_s=4.0)
    answers = [asyncio.create_task(one.ask()) for _ in range(10)]
    done = await asyncio.gather(*answers, return_exceptions=True)
    assert all(isinstance(error, Exception) for error in done)
    assert len(fake_model.requests) <= 20


async def test_after_a_pause_one_call_goes_first_and_then_more_and_more() -> None:
    pause, begun = OverloadPause(), []
    pause.fail(0.5)

    async def call(number: int) -> None:
        await pause.begin(time.monotonic() + 20, lambda: None)
        begun.append(number)

    calls = [asyncio.create_task(call(number)) for number in range(8)]
    async with asyncio.timeout(10):
        while not begun:
            await asyncio.sleep(0.01)
    counts = [len(begun)]
    while len(begun) < 8:
        pause.succeed()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        counts.append(len(begun))
    assert counts == [1, 3, 5, 7, 8]
    assert begun == sorted(begun)
    await asyncio.gather(*calls)


@pytest.mark.parametrize("ending", ["cancelled", "leaves"])
async def test_a_call_that_ends_during_a_pause_delays_nobody(ending: str) -> None:
    pause = OverloadPause()
    pause.fail(0.5)
    ends_at = time.monotonic() + 20
    first = asyncio.create_task(pause.begin(ends_at, lambda: None))
    second = asyncio.create_task(pause.begin(ends_at, lambda: None))
    await asyncio.sleep(0)
    if ending == "cancelled":
        first.cancel()
    else:
        await first
        pause.leave()
    async with asyncio.timeout(10):
        await second


async def test_no_call_waits_for_a_pause_that_ends_too_late() -> None:
    pause = OverloadPause()
    pause.fail(100)
    with pytest.raises(TimeoutError):
        await pause.begin(time.monotonic() + 5, lambda: None)


# --- a fallback endpoint --------------------------------------------------------------------------


@pytest.fixture
async def second() -> AsyncIterator[FakeModel]:
    """A fallback endpoint."""
    model = await FakeModel(reply=lambda _: "from the second").start()
    yield model
    await model.stop()


def fallback_to(model: FakeModel) -> Endpoint:
    return Endpoint(model.base_url, "key", "second/model", DIALECTS["vllm"])


NOTE = FALLBACK.format(model="second/model")


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500), Fault(status=503), Fault(status=429), Fault(status=401),
        Fault(status=402), Fault(status=404), Fault(kind="reset"), Fault(kind="cut"),
        Fault(kind="corrupt"), Fault(kind="error_frame"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)  # fmt: skip
async def test_a_failing_endpoint_is_replaced_by_the_fallback(
    asker: MakeAsker, fake_model: FakeModel, second: FakeModel, fault: Fault
) -> None:
    """The answer says which model gave it."""
    fake_model.always = fault
    one = asker(fallback=fallback_to(second))
    assert await one.ask("place/model") == f"from the second{NOTE}"
    assert one.model == "second/model"
    assert second.requests[0]["model"] == "second/model"
    assert len(fake_model.requests) == 1


async def test_an_endpoint_that_is_not_running_is_replaced_by_the_fallback(
    asker: MakeAsker, fake_model: FakeModel, second: FakeModel
) -> None:
    await fake_model.stop()
    one = asker(fallback=fallback_to(second))
    assert await one.ask() == f"from the second{NOTE}"


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault(status=400, error={"message": "no"}), "refused"),
        (Fault(status=400, error={"code": "context_length_exceeded"}), "too long"),
        (Fault(kind="cut", after_chunks=1), "unreachable"),
    ],
)
async def test_a_failure_that_the_fallback_cannot_fix_is_final(
    asker: MakeAsker, fake_model: FakeModel, second: FakeModel, fault: Fault, why: str
) -> None:
    """The endpoint refused the question, or the beginning of its answer was shown."""
    fake_model.piece_chars = 3
    fake_model.always = fault
    assert await asker(fallback=fallback_to(second)).failure() == why
    assert second.requests == []


async def test_the_first_endpoint_is_asked_again_once_it_can_answer(
    asker: MakeAsker, fake_model: FakeModel, second: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "FALLBACK_FIRST_S", 2.0)
    fake_model.faults.append(Fault(status=500))
    one = asker(fallback=fallback_to(second))
    assert (await one.ask()).endswith(NOTE)
    assert (await one.ask()).endswith(NOTE)
    assert len(fake_model.requests) == 1
    async with asyncio.timeout(10):
        while await one.ask() != ANSWER:
            await asyncio.sleep(0.05)
    assert one.model == "fake"
    assert await one.ask() == ANSWER


async def test_while_the_fallback_fails_too_both_are_tried(
    asker: MakeAsker, fake_model: FakeModel, second: FakeModel
) -> None:
    """The endpoint that recovers first can answer. The notice is about the first endpoint."""
    fake_model.always, second.always = Fault(status=500), Fault(status=401)
    one = asker(fallback=fallback_to(second), give_up_s=1.0)
    assert await one.failure() == "error"
    assert len(second.requests) > 1
    fake_model.always, second.always = Fault(status=401), Fault(status=401)
    assert await asker(fallback=fallback_to(second)).failure() == "bad key"


async def test_only_one_endpoint_is_asked_at_a_time(
    asker: MakeAsker, fake_model: FakeModel, second: FakeModel
) -> None:
    """The fallback's request starts after the first one has ended."""
    fake_model.faults.append(Fault(kind="stall"))
    one = asker(fallback=fallback_to(second), silence_s=0.5)
    assert (await one.ask()).endswith(NOTE)
    assert second.times[0] - fake_model.times[0] >= 0.5


async def test_the_demo_model_can_have_a_fallback(second: FakeModel) -> None:
    def missing() -> Endpoint:
        raise FileNotFoundError

    one = Asker(fallback_to(second), answer_tokens=50, give_up_after_s=5.0, silence_s=5.0)
    one.client = client_module.ModelClient(
        missing, answer_tokens=50, give_up_after_s=5.0, silence_s=5.0, rng=random.Random(1),
        fallback=fallback_to(second),
    )  # fmt: skip
    assert (await one.ask()).endswith(NOTE)
    await one.client.close()
