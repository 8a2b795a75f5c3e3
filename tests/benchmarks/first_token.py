"""Time to the first text through the whole system, compared with the bare openai client."""

import time
from pathlib import Path

import openai

from tests.benchmarks.figures import Figure, Target, percentile
from tests.benchmarks.load import TURNS, in_turns, people
from tests.benchmarks.processes import flow, model, nats, started
from tests.running import question

COUNT = 300
WARM_UP = 20
CLIENT = "bare openai client"


async def measure(home: Path) -> list[Figure]:
    """Measures both alternately, with a model that starts after 20 ms and streams 20 words."""
    with model(delay=0.02, pieces=20, pause=0.002) as server:
        client = openai.AsyncOpenAI(base_url=server.url, api_key="k", max_retries=0)
        async with (
            nats(home) as bus_server,
            started(flow(home, bus_server.url, server.url)),
            people(bus_server.url, partials=True) as them,
            client,
        ):

            async def through(kind: str, number: int) -> float:
                _, first = await them.ask(question(f"{kind}{number // TURNS}", number, "hello"))
                assert first is not None
                return first

            async def directly(_: str, __: int) -> float:
                begin = time.monotonic()
                first = 0.0
                stream = await client.chat.completions.create(
                    model="fake", messages=[{"role": "user", "content": "hello"}], stream=True
                )
                async for chunk in stream:
                    if not first and chunk.choices and chunk.choices[0].delta.content:
                        first = time.monotonic() - begin
                return first

            found = await in_turns(WARM_UP + COUNT, {"direct": directly, "through": through})
    figures = []
    for share, target in ((0.5, Target("added", at_most=4.0)), (0.95, None), (0.99, None)):
        ours, theirs = (percentile(found[k][WARM_UP:], share) * 1e3 for k in ("through", "direct"))
        figures.append(
            Figure(f"first token, p{share * 100:.0f}", ours, "ms", CLIENT, theirs, target)
        )
    return figures
