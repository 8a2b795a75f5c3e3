"""The unchanged dataflow or floor, which records when each prompt passes each hop.

Run as `stamped flow FILE` or `stamped floor FILE NATS_URL MODEL_URL`. Wrappers around the functions
record the times, which are written to the file at SIGTERM.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nats.js.client import JetStreamContext

from shared.messages import Ask

STAMPS: defaultdict[str, dict[str, float]] = defaultdict(dict)


def before(owner: Any, name: str, hop: str, prompts: Callable[..., list[str]]) -> None:
    """Makes a function record the time whenever it is called."""
    inner = getattr(owner, name)

    def recorded(*arguments: Any, **named: Any) -> Any:
        now = time.monotonic()
        for prompt in prompts(*arguments):
            STAMPS[prompt].setdefault(hop, now)
        return inner(*arguments, **named)

    setattr(owner, name, recorded)


def record_journal() -> None:
    """Records the time before a reply is published, and after its PubAck.

    Both programs use this call.
    """
    publish = JetStreamContext.publish

    async def recorded(self: Any, subject: str, *arguments: Any, **named: Any) -> Any:
        hops = STAMPS[subject.rsplit(".", 1)[1]]
        hops["journal"] = time.monotonic()
        ack = await publish(self, subject, *arguments, **named)
        hops["acknowledged"] = time.monotonic()
        return ack

    JetStreamContext.publish = recorded  # type: ignore[method-assign]


def flow() -> None:
    from dataflow.answering import Answering  # noqa: PLC0415
    from dataflow.conversation_step import ConversationStep  # noqa: PLC0415
    from dataflow.heard import Arrived  # noqa: PLC0415
    from dataflow.model_sink import ModelSinkPartition  # noqa: PLC0415
    from dataflow.partitions import reader  # noqa: PLC0415
    from ops import cli  # noqa: PLC0415

    def of_events(_: Any, values: list[Any]) -> list[str]:
        return [v.event.id for v in values if isinstance(v, Arrived)]

    before(
        reader._Reader, "deliver", "source",
        lambda _, message: [json.loads(message.data)["id"]],
    )  # fmt: skip
    before(ConversationStep, "on_batch", "conversation", of_events)
    before(
        ModelSinkPartition, "write_batch", "sink",
        lambda _, items: [effect.ask.id for _, effect in items],
    )  # fmt: skip
    before(
        Answering, "take", "taken", lambda _, effects, __: [effect.ask.id for _, effect in effects]
    )
    record_journal()
    sys.argv = ["threadwax", "dataflow"]
    cli.main()


def floor(nats_url: str, model_url: str) -> None:
    from shared import lifecycle  # noqa: PLC0415
    from tests.benchmarks import floor as program  # noqa: PLC0415

    record_journal()
    validate = Ask.model_validate_json

    def recorded(data: bytes) -> Ask:
        now = time.monotonic()
        ask = validate(data)
        STAMPS[ask.id]["source"] = now
        return ask

    Ask.model_validate_json = recorded  # type: ignore[method-assign,assignment]

    async def until_stopped() -> None:
        task = asyncio.create_task(program.main(nats_url, model_url, 0.0))
        await lifecycle.wait_for_stop()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(until_stopped())


if __name__ == "__main__":
    kind, file, *arguments = sys.argv[1:]
    try:
        flow() if kind == "flow" else floor(*arguments)
    finally:
        Path(file).write_text(json.dumps(STAMPS))
