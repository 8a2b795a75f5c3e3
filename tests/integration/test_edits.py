"""Edits of answered questions, even if the dataflow does not know the answer yet."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ops.nats_server import NatsServer
from shared.bus import Bus
from shared.messages import Ask, Edited
from tests.fakes.model import FakeModel
from tests.running import Running, answer_to, dataflow, question


@pytest.fixture
async def flow(nats: NatsServer, fake_model: FakeModel, tmp_path: Path) -> AsyncIterator[Running]:
    flow = dataflow(tmp_path / "home", nats.url, fake_model.base_url).start()
    await flow.ready()
    yield flow
    assert await flow.stop() == 0


def edit_of(ask: Ask, text: str) -> Edited:
    return Edited(
        id=f"{ask.id}-e1", user=ask.user, place=ask.place, said_at=datetime.now(UTC),
        prompt_id=ask.id, text=text, ask_again=True,
    )  # fmt: skip


@pytest.mark.usefixtures("flow")
async def test_an_edit_right_after_the_answer_is_answered(bus: Bus, fake_model: FakeModel) -> None:
    """Some of 40 people edit before the worker has processed the reply that they see."""
    asks = [question(f"ada{number}", 0, "old words") for number in range(40)]

    async def ask_and_edit(ask: Ask) -> None:
        await answer_to(bus, ask)
        assert (await answer_to(bus, edit_of(ask, "new words"))).prompt_text == "new words"

    await asyncio.gather(*map(ask_and_edit, asks))
    assert len(fake_model.requests) == 2 * len(asks)


async def test_an_edit_while_the_dataflow_is_down_is_answered(
    flow: Running, bus: Bus, fake_model: FakeModel
) -> None:
    """After a kill right after the answer, question and edit are read together."""
    ask = question("ada", 0, "old words")
    await answer_to(bus, ask)
    flow.kill()
    answer = asyncio.create_task(answer_to(bus, edit_of(ask, "new words")))
    flow.start()
    assert (await answer).prompt_text == "new words"
    last = await answer_to(bus, question("ada", 1, "and now?"))
    assert last.outcome == "answered"
    contents = [message["content"] for message in fake_model.requests[-1]["messages"]]
    assert contents[1::2] == ["new words", "and now?"]
    assert len(fake_model.requests) == 3
