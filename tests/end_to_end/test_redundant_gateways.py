"""Two gateways: one is killed, frozen or stopped, and comes back."""

import asyncio
import itertools
import json
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from ops.nats_server import NatsServer
from shared import names
from shared.bus import Bus
from tests.end_to_end.redundant import CASES, Pair, Waits, stored, until
from tests.end_to_end.test_slack_processes import ANSWER_S
from tests.fakes.model import FakeModel
from tests.running import Running, dataflow


@pytest.mark.timeout(120)
async def test_two_gateways(
    nats: NatsServer, bus: Bus, fake_model: FakeModel, tmp_path: Path
) -> None:
    """A client that repeats a request with its id gets one answer, whichever gateway has it."""
    fake_model.reply = lambda request: f"re: {request['messages'][-1]['content']}"
    fake_model.pause_s = 0.1
    flow = dataflow(tmp_path / "flow", nats.url, fake_model.base_url).start()
    pair = Pair(*(
        Running(
            "gateway", log=tmp_path / f"gateway{number}.log",
            env={"NATS_URL": nats.url, "THREADWAX_HOME": str(tmp_path / f"gateway{number}")},
        )
        for number in range(2)
    ))  # fmt: skip
    heard: Counter[str] = Counter()
    inbox = bus.client.new_inbox()

    async def hear(message: Msg) -> None:
        heard[message.data.decode()] += 1

    await bus.client.subscribe(f"{inbox}.*", cb=hear)

    async def ask(number: int, waits: Waits) -> None:
        """Asks again every 2 s, as a client does whose request got no answer."""
        text = f"number {number}"
        data = json.dumps({"user_id": f"user{number}", "prompt": text}).encode()
        waits.ask(text)
        while not heard[f"re: {text}"]:
            await bus.client.publish(
                names.GATEWAY_SUBJECT, data, f"{inbox}.{number}",
                headers={"Nats-Msg-Id": f"id-{number}"},
            )  # fmt: skip
            with suppress(TimeoutError):
                await until(lambda: answered(text), 2)
        waits.see({text})

    async def answered(text: str) -> bool:
        return bool(heard[f"re: {text}"])

    try:
        await flow.ready()
        await pair.start()
        numbers = itertools.count()
        for fault, victim in CASES:
            waits = Waits()
            asking = [asyncio.create_task(ask(next(numbers), waits)) for _ in range(3)]
            await asyncio.sleep(0.2)
            await pair.hit(pair.both[victim], fault)
            asking += [asyncio.create_task(ask(next(numbers), waits)) for _ in range(3)]
            async with asyncio.timeout(ANSWER_S):
                await asyncio.gather(*asking)
            await pair.heal(pair.both[victim], fault)
            waits.report(f"gateway {fault} {'AB'[victim]}")
        asked = next(numbers)
        assert len(fake_model.requests) == asked
        assert len(await stored(bus, names.REPLIES)) == asked
    finally:
        pair.kill()
        flow.kill()
