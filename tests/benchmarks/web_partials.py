"""Answers questions of the web page with texts that grow and never end, in place of the dataflow.

Run as `web_partials NATS_URL RATE TABS`; RATE is words per second of each answer. All answers begin
once TABS questions have been asked.
"""

import asyncio
import sys

from nats.aio.msg import Msg

from shared import lifecycle
from shared.bus import Bus
from shared.messages import Ask
from shared.replies import Partial

SLICES = 20
"""Answers do not all grow at the same moment."""


async def main(url: str, rate: float, tabs: int) -> None:
    bus = await Bus.connect(url, name="partials", on_closed=lambda: None)
    growing: list[Partial] = []
    complete = asyncio.Event()

    async def asked(message: Msg) -> None:
        ask = Ask.model_validate_json(message.data)
        growing.append(
            Partial(prompt_id=ask.id, user=ask.user, place=ask.place, text="", attempt=1,
                    sequence=0)
        )  # fmt: skip
        if len(growing) == tabs:
            complete.set()

    await bus.client.subscribe("prompts.web.>", cb=asked)
    lifecycle.ready("growing answers")
    await complete.wait()
    loop = asyncio.get_running_loop()
    next_s, piece = loop.time(), 0
    while True:
        for index in range(piece, len(growing), SLICES):
            before = growing[index]
            growing[index] = before.model_copy(
                update={
                    "text": f"{before.text}word{before.sequence} ",
                    "sequence": before.sequence + 1,
                }
            )
            await bus.show_partial(growing[index])
        piece = (piece + 1) % SLICES
        next_s += 1 / rate / SLICES
        await asyncio.sleep(next_s - loop.time())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
