"""The floor: the shortest asyncio program on the same streams, with no state and no store.

Run as `floor NATS_URL MODEL_URL DELAY_S`, in its own process like the dataflow. It asks the model
with the openai client's ordinary call. If MODEL_URL is `-`, it only waits.
"""

import asyncio
import sys
from datetime import UTC, datetime

import openai
from nats.aio.msg import Msg

from shared import names
from shared.bus import Bus
from shared.follow import Position, follow
from shared.lifecycle import READY
from shared.messages import Ask
from shared.replies import Reply


async def main(nats_url: str, model_url: str, delay_s: float) -> None:
    bus = await Bus.connect(nats_url, name="floor")
    client = (
        None
        if model_url == "-"
        else openai.AsyncOpenAI(base_url=model_url, api_key="k", max_retries=0)
    )
    tasks = set()

    async def answer(message: Msg) -> None:
        ask = Ask.model_validate_json(message.data)
        text = "ok"
        if client is None:
            await asyncio.sleep(delay_s)
        else:
            stream = await client.chat.completions.create(
                model="fake", messages=[{"role": "user", "content": ask.text}], stream=True
            )
            text = ""
            async for chunk in stream:
                text += chunk.choices[0].delta.content or "" if chunk.choices else ""
        reply = Reply(
            prompt_id=ask.id, user=ask.user, place=ask.place, outcome="answered", text=text,
            said_at=ask.said_at, answered_at=datetime.now(UTC),
        )  # fmt: skip
        await bus.js.publish(names.reply_subject(ask.user, ask.id), reply.wire())

    async def take(message: Msg) -> None:
        task = asyncio.create_task(answer(message))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    print(f"{READY} floor", flush=True)  # noqa: T201
    await follow(bus, names.PROMPTS, "p.*.>", after=Position(), deliver=take)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
