"""Prompt to reply on an idle system, one prompt at a time: the dataflow compared with the floor."""

from pathlib import Path

from tests.benchmarks.figures import Figure, Target, median_ms, percentile
from tests.benchmarks.load import one_by_one, people
from tests.benchmarks.processes import floor, flow, flow_without_model, model, nats, started

ROUNDS = 3
QUESTIONS = 300

FLOOR = "plain asyncio on the same streams"


async def measure(home: Path) -> list[Figure]:
    """Measures without a model, and with one over HTTP. Dataflow and floor alternate."""
    figures: list[Figure] = []
    with model() as server:
        for case, url in (("no model", ""), ("model over HTTP", server.url)):
            found = await _alternately(home / case.split()[0], url)
            figures += [
                Figure(
                    f"idle, prompt to reply, {case}, p50", median_ms(found["flow"]), "ms",
                    FLOOR, median_ms(found["floor"]), Target("ratio", at_most=1.5),
                ),
                Figure(
                    f"idle, prompt to reply, {case}, p99", percentile(found["flow"], 0.99) * 1e3,
                    "ms", FLOOR, percentile(found["floor"], 0.99) * 1e3,
                ),
            ]  # fmt: skip
    return figures


async def _alternately(home: Path, model_url: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"flow": [], "floor": []}
    for turn in range(ROUNDS):
        for kind in found:
            folder = home / f"{kind}{turn}"
            async with nats(folder) as server:
                if kind == "floor":
                    process = floor(folder, server.url, model_url)
                elif model_url:
                    process = flow(folder, server.url, model_url)
                else:
                    process = flow_without_model(folder, server.url)
                async with started(process), people(server.url) as them:
                    found[kind] += await one_by_one(them, f"{kind}{turn}", QUESTIONS)
    return found
