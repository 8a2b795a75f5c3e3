"""Summaries through the real dataflow, the real client and a model that records its requests."""

import asyncio
import random
import re
import socket
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from dataflow.background_calls import CALLS_LIMIT, BackgroundCalls
from dataflow.effects import Summarize, Summarized
from dataflow.model.client import ModelClient
from dataflow.model.dialects import DIALECTS
from dataflow.model.endpoint import Endpoint
from dataflow.run import DRAIN_S
from dataflow.summary import Fold
from dataflow.truncation import shortened
from ops.nats_server import NatsServer
from shared.bus import Bus
from shared.messages import Deleted
from tests.asking import MakeAsker, conversation
from tests.benchmarks.summaries import (
    ASKED_FOR,
    FACT,
    FACT_AT,
    TURNS,
    is_for_notes,
    talk,
    text_of,
)
from tests.fakes.model import FakeModel, Fault
from tests.running import Running, answer_to, dataflow, direct, question

WINDOW = {"THREADWAX_CONTEXT_TOKENS": "6000", "THREADWAX_ANSWER_TOKENS": "1000"}
PATIENCE_S = 200.0
"""A loaded machine takes half a minute to start a process."""

FOLD = Fold(direct("ada"), ("x",), 1, None, 300, 1000)
SUMMARIZE = Summarize(FOLD, conversation(3), None)


class Model:
    """Answers at once. While `held`, a summary that is `begun` does not end."""

    def __init__(self, model: FakeModel) -> None:
        self.model = model
        self.begun = asyncio.Event()
        self.held = False
        self.end = asyncio.Event()
        model.reply = self.reply
        self._complete = model._complete

    async def hold(self) -> None:
        """Lets no summary end until `end` is set. Serves the same address again."""
        self.held = True
        port = self.model.port
        await self.model.stop()
        self.model._complete = self._held  # type: ignore[method-assign]
        await self.model.start(port)

    async def _held(self, http: web.Request) -> web.StreamResponse:
        if ASKED_FOR in await http.text():
            self.begun.set()
            await self.end.wait()
        return await self._complete(http)

    def reply(self, request: dict[str, Any]) -> str:
        return "NOTES" if is_for_notes(text_of(request)) else f"answer {len(self.answers)}"

    @property
    def notes(self) -> list[str]:
        return [text for text in map(text_of, self.model.requests) if is_for_notes(text)]

    @property
    def answers(self) -> list[str]:
        return [text for text in map(text_of, self.model.requests) if not is_for_notes(text)]

    def knows_notes(self) -> bool:
        """Whether the last question came with a summary."""
        return bool(self.answers) and "<summary>" in self.answers[-1]


@pytest.fixture
def model(fake_model: FakeModel) -> Model:
    return Model(fake_model)


@pytest.fixture
async def flow(tmp_path: Path, nats: NatsServer, fake_model: FakeModel) -> AsyncIterator[Running]:
    process = dataflow(tmp_path / "home", nats.url, fake_model.base_url, **WINDOW)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        process.env["THREADWAX_HTTP_PORT"] = str(free.getsockname()[1])
    process.start()
    await process.ready()
    yield process
    process.kill()


class Person:
    """Ada, who asks one long question after the other."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.count = 0

    async def asks(self) -> Any:
        self.count += 1
        return await answer_to(
            self.bus, question("ada", self.count, f"[{self.count}] " + "w " * 600)
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        """Asks until something has happened."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await self.asks()


@pytest.fixture
def ada(bus: Bus) -> Person:
    return Person(bus)


@pytest.mark.timeout(600)
async def test_a_fact_of_turn_3_is_in_the_context_after_400_turns(tmp_path: Path) -> None:
    """`python -m tests.benchmarks summaries` compares this with the same talk without summaries."""
    found = await talk(tmp_path, 8_192)
    assert len(found.answers) == TURNS
    assert all(reply.outcome == "answered" for reply in found.replies)
    assert found.known == TURNS - FACT_AT + 1
    assert FACT in found.answers[-1].split("</summary>")[0]
    assert found.answers[-1].count(FACT) == 1
    assert 5 < found.summaries < 60
    assert found.cached_share > 0.85
    assert max(len(text) for text in found.answers) // 4 <= 8_192 - 1_024
    calls = [call for reply in found.replies for call in reply.background]
    assert found.summaries - 1 <= len(calls) <= found.summaries
    assert all(call.kind == "summary" and call.model == "fake" and call.usage for call in calls)


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("flow")
async def test_a_summary_delays_no_answer_and_replaces_its_turns(ada: Person, model: Model) -> None:
    """While it is being made, the same thread goes on."""
    await model.hold()
    await ada.until(model.begun.is_set)
    for _ in range(3):
        assert (await ada.asks()).outcome == "answered"
    assert "[1] " in "".join(model.answers[-4:])
    assert not model.knows_notes()
    model.end.set()
    await ada.until(model.knows_notes)
    assert "NOTES" in model.answers[-1]
    assert "[1] " not in model.answers[-1]


@pytest.mark.timeout(600)
async def test_kill_9_during_a_summary_loses_nothing(
    flow: Running, ada: Person, model: Model, bus: Bus
) -> None:
    """All questions have one answer, and the summary is made after the start."""
    await model.hold()
    for _ in range(2):
        model.begun.clear()
        await ada.until(model.begun.is_set)
        flow.kill()
        flow.start()
    replies = [await bus.stored_reply("test:ada", f"ada-{n}") for n in range(1, ada.count + 1)]
    assert all(found is not None and found.reply.outcome == "answered" for found in replies)
    model.end.set()
    await ada.until(model.knows_notes)
    asked = [numbers_in(text)[-1] for text in model.answers]
    assert asked == list(range(1, ada.count + 1)), "asked twice, or not at all"
    sent = numbers_in(model.answers[-1])
    assert sent == list(range(sent[0], ada.count + 1)), "a turn is missing"
    assert numbers_in(model.notes[-1])[-1] == sent[0] - 1


def numbers_in(text: str) -> list[int]:
    """The questions in a request."""
    return [int(number) for number in re.findall(r"\[(\d+)\] w", text)]


@pytest.mark.timeout(300)
async def test_a_stop_does_not_wait_for_a_summary(flow: Running, ada: Person, model: Model) -> None:
    await model.hold()
    await ada.until(model.begun.is_set)
    began = time.monotonic()
    assert await flow.stop() == 0
    assert time.monotonic() - began < DRAIN_S


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("flow")
async def test_a_deleted_turn_is_in_no_later_request(ada: Person, model: Model, bus: Bus) -> None:
    """Not in a summary either: it is made again without that turn."""
    model.model.reply = lambda request: (
        " ".join(re.findall(r"\[\d+\]", text_of(request)))
        if is_for_notes(text_of(request)) else "fine"
    )  # fmt: skip
    await ada.until(model.knows_notes)
    assert "[2]" in model.answers[-1]
    asked = question("ada", 2, "x")
    await bus.publish(
        Deleted(
            id="d", user=asked.user, place=asked.place, said_at=asked.said_at, prompt_id="ada-2"
        )
    )
    before = len(model.model.requests)
    await ada.asks()
    await ada.until(model.knows_notes)
    assert "[1]" in model.answers[-1]
    assert all("[2]" not in text_of(request) for request in model.model.requests[before:])


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("flow")
async def test_a_summary_that_is_too_long_leaves_answers_alone(ada: Person, model: Model) -> None:
    """It is not asked for again soon, and the thread is trimmed."""
    model.model.reply = lambda request: (
        "word " * 3_000 if is_for_notes(text_of(request)) else "fine"
    )
    for _ in range(30):
        assert (await ada.asks()).outcome == "answered"
    assert 1 <= len(model.notes) <= 6
    assert "<summary>" not in "".join(model.answers)
    assert "[1] " not in model.answers[-1]


@pytest.mark.timeout(300)
async def test_the_status_page_counts_summaries_and_their_tokens(
    flow: Running, ada: Person, model: Model
) -> None:
    await ada.until(model.knows_notes)
    url = f"http://127.0.0.1:{flow.env['THREADWAX_HTTP_PORT']}/metrics"
    page = (await asyncio.to_thread(urllib.request.urlopen, url)).read().decode()
    assert 'threadwax_summaries_total{outcome="written"} 1.0' in page
    assert 'threadwax_background_tokens_total{direction="prompt"}' in page


# --- the call itself ------------------------------------------------------------------------------


@pytest.fixture
async def client(fake_model: FakeModel) -> AsyncIterator[ModelClient]:
    client = ModelClient(
        lambda: Endpoint(fake_model.base_url, "key", "fake", DIALECTS["vllm"]),
        answer_tokens=50, give_up_after_s=5.0, silence_s=5.0, rng=random.Random(1),
    )  # fmt: skip
    yield client
    await client.close()


async def results(background: BackgroundCalls, count: int = 1, *, answers: int = 0) -> list[str]:
    """The outcomes of that many summaries, begun in the same moment."""
    found: asyncio.Queue[Summarized] = asyncio.Queue()
    for _ in range(count):
        background.summarize(
            "test:ada", SUMMARIZE, lambda _, result: found.put_nowait(result), answers=answers
        )
    async with asyncio.timeout(20):
        return sorted([(await found.get()).outcome for _ in range(count)])


async def test_a_summary_is_tried_once_and_not_while_the_endpoint_is_overloaded(
    client: ModelClient, fake_model: FakeModel
) -> None:
    background = BackgroundCalls(client)
    fake_model.faults.append(Fault(status=429, headers={"Retry-After": "30"}))
    assert await results(background) == ["failed"]
    assert len(fake_model.requests) == 1
    assert client.is_under_pressure
    assert await results(background) == ["skipped"]
    assert len(fake_model.requests) == 1


async def test_summaries_leave_the_endpoint_to_answers(
    client: ModelClient, fake_model: FakeModel
) -> None:
    """A few at a time, or one per eight answers in progress."""
    fake_model.delay_s = 0.2
    background = BackgroundCalls(client)
    found = await results(background, CALLS_LIMIT + 3)
    assert found.count("written") == CALLS_LIMIT
    assert found.count("skipped") == 3
    assert await results(background, CALLS_LIMIT + 3, answers=8 * (CALLS_LIMIT + 3)) == [
        "written"
    ] * (CALLS_LIMIT + 3)


async def test_no_turns_are_left_out_of_the_source_of_a_summary(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    """It would claim turns that the model has not seen."""
    one = asker()
    fake_model.faults.append(
        Fault(
            status=400,
            error={
                "code": "context_length_exceeded",
                "message": "This model's maximum context length is 300 tokens.",
            },
        )
    )
    await one.ask(messages=conversation(20))
    assert len(fake_model.requests[-1]["messages"]) < 42
    assert len(shortened(conversation(20), 100)) < 42
    sent = len(fake_model.requests)
    background = BackgroundCalls(one.client)
    found: asyncio.Queue[Summarized] = asyncio.Queue()
    wanted = Summarize(FOLD, conversation(20), None)
    background.summarize("test:ada", wanted, lambda _, r: found.put_nowait(r), answers=0)
    async with asyncio.timeout(20):
        assert (await found.get()).outcome == "failed"
    assert len(fake_model.requests) == sent
