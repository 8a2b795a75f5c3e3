"""The peer: a dataflow as in tutorials, which calls the model inside the stateful step.

Run as `tutorial NATS_URL MODEL_URL`. Prompts arrive on the core NATS subject `prompts`, the
conversation is the state of the step, the model call blocks, `backoff` retries it, and the reply
goes to the user's inbox.
"""

import asyncio
import json
import sys
from typing import Any

import backoff
import bytewax.operators as op
import nats
import openai
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.run import cli_main
from nats.aio.client import Client
from nats.errors import TimeoutError as NothingYet

from shared.lifecycle import READY


class Prompts(StatelessSourcePartition[tuple[str, dict[str, str]]]):
    def __init__(self, loop: asyncio.AbstractEventLoop, client: Client) -> None:
        self._loop = loop
        self._subscription = loop.run_until_complete(client.subscribe("prompts"))
        loop.run_until_complete(client.flush())
        print(f"{READY} tutorial", flush=True)  # noqa: T201

    def next_batch(self) -> list[tuple[str, dict[str, str]]]:
        try:
            message = self._loop.run_until_complete(self._subscription.next_msg(timeout=0.1))
        except NothingYet:
            return []
        asked = json.loads(message.data)
        return [(asked["user_id"], {"prompt": asked["prompt"], "inbox": message.reply})]


class Replies(StatelessSinkPartition[tuple[str, dict[str, str]]]):
    def __init__(self, loop: asyncio.AbstractEventLoop, client: Client) -> None:
        self._loop = loop
        self._client = client

    def write_batch(self, items: list[tuple[str, dict[str, str]]]) -> None:
        for _, reply in items:
            self._loop.run_until_complete(
                self._client.publish(reply["inbox"], reply["text"].encode())
            )
        self._loop.run_until_complete(self._client.flush())


class PromptsSource(DynamicSource[tuple[str, dict[str, str]]]):
    def __init__(self, *connection: Any) -> None:
        self._connection = connection

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Prompts:
        del step_id, worker_index, worker_count
        return Prompts(*self._connection)


class RepliesSink(DynamicSink[tuple[str, dict[str, str]]]):
    def __init__(self, *connection: Any) -> None:
        self._connection = connection

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Replies:
        del step_id, worker_index, worker_count
        return Replies(*self._connection)


def main(nats_url: str, model_url: str) -> None:
    model = openai.OpenAI(base_url=model_url, api_key="k")
    loop = asyncio.new_event_loop()
    client = loop.run_until_complete(nats.connect(nats_url))

    @backoff.on_exception(backoff.expo, openai.OpenAIError, max_tries=5)
    def answer(messages: list[Any]) -> str:
        stream = model.chat.completions.create(model="fake", messages=messages, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)

    def converse(history: list[Any] | None, asked: dict[str, str]) -> tuple[list[Any], Any]:
        messages = [*(history or []), {"role": "user", "content": asked["prompt"]}]
        text = answer(messages)
        return [*messages, {"role": "assistant", "content": text}], asked | {"text": text}

    flow = Dataflow("tutorial")
    prompts = op.input("prompts", flow, PromptsSource(loop, client))
    replies = op.stateful_map("conversation", prompts, converse)
    op.output("replies", replies, RepliesSink(loop, client))
    cli_main(flow)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main(*sys.argv[1:])
