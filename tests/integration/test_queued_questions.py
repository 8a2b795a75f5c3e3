"""A question that waits for an earlier one: the dataflow sends its person a status."""

import asyncio
from pathlib import Path

from nats.aio.msg import Msg

from dataflow.model.status import sentence
from ops.nats_server import NatsServer
from shared.bus import Bus
from shared.replies import Partial
from tests.fakes.model import FakeModel
from tests.running import dataflow, question

FLOW = """
import sys
from dataflow import answering
from ops import cli
answering.STATUS_AFTER_S = 0.2
sys.argv = ["threadwax", "dataflow"]
cli.main()
"""
"""Runs the dataflow with statuses after a fifth of a second."""


async def test_a_queued_question_gets_a_status(nats: NatsServer, bus: Bus, tmp_path: Path) -> None:
    model = await FakeModel(delay_s=60).start()
    flow = dataflow(tmp_path / "flow", nats.url, model.base_url, "-c", FLOW).start()
    first, second = question("ada", 1, "first"), question("ada", 2, "second")
    statuses: asyncio.Queue[Partial] = asyncio.Queue()

    async def see(message: Msg) -> None:
        statuses.put_nowait(Partial.model_validate_json(message.data))

    try:
        await flow.ready()
        await bus.watch("partials.>", see)
        await bus.publish(first)
        await bus.publish(second)
        async with asyncio.timeout(15):
            while (partial := await statuses.get()).prompt_id != second.id:
                assert partial.prompt_id == first.id
        assert partial.status == sentence("thread", 1)
        assert partial.early
    finally:
        flow.kill()
        await model.stop()
