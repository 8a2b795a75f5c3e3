"""Dead letters are replayed by the dataflow when an operator asks for it."""

import json
from datetime import UTC, datetime
from pathlib import Path

from nats.js.errors import NotFoundError

from dataflow.dead_letters import DAMAGED, GONE, ONLY_QUESTIONS, REPLAYED
from ops.nats_server import NatsServer
from shared import names
from shared.bus import Bus
from shared.dead_letters import NO_ANSWER, replay
from tests.fakes.model import FakeModel
from tests.running import dataflow, question


async def test_what_can_be_read_now_is_answered_and_the_rest_stays(
    nats: NatsServer, bus: Bus, fake_model: FakeModel, tmp_path: Path
) -> None:
    assert await replay(bus, 1) == NO_ANSWER
    flow = dataflow(tmp_path / "flow", nats.url, fake_model.base_url).start()
    await flow.ready()
    try:
        asked = question("ada", 1, "hello")
        subject = f"dlq.p.3.{asked.user.replace(':', '.')}"
        # As a version that could not read it has left it, with a refusal under its id.
        readable = (await bus.js.publish(subject, asked.wire())).seq
        unreadable = (await bus.js.publish(subject, b'{"v": 99, "id": "test-x"}')).seq
        cut = (await bus.js.publish(subject, asked.wire()[:40])).seq
        reply = (await bus.js.publish(f"dlq.replies.test.ada.{asked.id}", b"{}")).seq

        assert await replay(bus, readable) == REPLAYED
        again = f"{asked.id}-replay-{readable}"
        found = await bus.reply_when_stored(asked.user, again, timeout_s=30)
        assert found is not None
        assert found.outcome == "answered"
        assert await replay(bus, readable) == GONE

        assert await replay(bus, unreadable) == REPLAYED
        stored = await bus.js.get_last_msg(names.PROMPTS, names.stored_prompts_of(asked.user))
        assert json.loads(stored.data or b"")["id"] == f"test-x-replay-{unreadable}"
        assert await replay(bus, cut) == DAMAGED
        assert await replay(bus, reply) == ONLY_QUESTIONS
        assert await replay(bus, 10**9) == GONE
        for left in (cut, reply):
            assert await bus.js.get_msg(names.DLQ, left)
        try:
            await bus.js.get_msg(names.DLQ, readable)
        except NotFoundError:
            pass
        else:
            raise AssertionError("it was replayed, and is still there")
    finally:
        flow.kill()
    assert asked.said_at < datetime.now(UTC)
