"""An edit of an answered question is answered, also where the flow has not heard of the answer."""

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
async def test_edited_at_the_sight_of_the_answer(bus: Bus, fake_model: FakeModel) -> None:
    """The reply passes the bus before the worker has it: some of 40 people are quicker."""
    asks = [question(f"ada{number}", 0, "old words") for number in range(40)]

    async def ask_and_edit(ask: Ask) -> None:
        await answer_to(bus, ask)
        assert (await answer_to(bus, edit_of(ask, "new words"))).prompt_text == "new words"

    await asyncio.gather(*map(ask_and_edit, asks))
    assert len(fake_model.requests) == 2 * len(asks)


async def test_edited_while_the_flow_is_down(
    flow: Running, bus: Bus, fake_model: FakeModel
) -> None:
    """It was killed just after its answer: on its return question and edit are read together."""
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
