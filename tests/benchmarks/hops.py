"""The time of one prompt on an idle system, hop by hop, in the dataflow and in the floor."""

import json
import statistics
import time
from pathlib import Path
from typing import Final

from tests.benchmarks.figures import Figure
from tests.benchmarks.load import TURNS, People, people
from tests.benchmarks.processes import Model, model, module, nats, started
from tests.running import Running, dataflow, question

QUESTIONS: Final = 400
WARM_UP: Final = 40

Stamps = dict[str, dict[str, float]]
"""By prompt: the time at which it reached each hop."""

HOPS: Final = (
    ("published", "source", "publish to source"),
    ("source", "conversation", "source to conversation"),
    ("conversation", "sink", "conversation to sink"),
    ("sink", "taken", "sink to the asyncio thread"),
    ("source", "asked", "source to model request received"),
    ("asked", "first", "model request to its first byte (the model's own time)"),
    ("last", "journal", "last byte to the journal's publish"),
    ("journal", "acknowledged", "journal's publish to its PubAck"),
    ("journal", "seen", "journal's publish to reply seen"),
    ("published", "stored", "publish to PubAck (in parallel)"),
    ("published", "seen", "publish to reply seen"),
)


FLOOR_HAS: Final = frozenset(
    {"published", "stored", "source", "asked", "first", "last", "journal", "acknowledged", "seen"}
)
"""The floor has no conversation and no sink."""


class NotStamped(Exception):
    """Questions did not pass a hop where `stamped.py` looks: a function has moved."""


async def measure(home: Path) -> list[Figure]:
    """Measures the median of each hop.

    Raises:
        NotStamped: a figure would be about fewer questions than were asked.
    """
    stamps: dict[str, Stamps] = {}
    with model() as server:
        for kind in ("flow", "floor"):
            stamps[kind] = await _stamps_of(home / kind, kind, server)
    figures = []
    for begin, end, what in HOPS:
        ours = _median_ms("flow", stamps["flow"], begin, end)
        has_floor = {begin, end} <= FLOOR_HAS
        theirs = _median_ms("floor", stamps["floor"], begin, end) if has_floor else None
        floor = "plain asyncio" if has_floor else ""
        figures.append(Figure(f"hop, {what}, p50", ours, "ms", floor, theirs))
    return figures


async def _stamps_of(home: Path, kind: str, server: Model) -> Stamps:
    stamps_file = home / "stamps.json"
    async with nats(home) as bus_server:
        process = _stamped(kind, home, bus_server.url, server.url, stamps_file)
        async with started(process), people(bus_server.url) as them:
            server.times()
            stamps = await _asked(them, kind)
            for text, (asked, first, last) in server.times().items():
                if text in stamps:
                    stamps[text] |= {"asked": asked, "first": first, "last": last}
            await process.stop()
    for prompt, hops in json.loads(stamps_file.read_text()).items():
        if prompt in stamps:
            stamps[prompt] |= hops
    return stamps


def _stamped(kind: str, home: Path, nats_url: str, model_url: str, stamps: Path) -> Running:
    if kind == "floor":
        return module("stamped", "floor", stamps, nats_url, model_url, home=home)
    code = (
        f"import sys, runpy; sys.argv = ['stamped', 'flow', {str(stamps)!r}]; "
        "runpy.run_module('tests.benchmarks.stamped', run_name='__main__')"
    )
    return dataflow(home, nats_url, model_url, "-c", code)


async def _asked(them: People, kind: str) -> Stamps:
    """Asks one question at a time. Its text is its id, by which the model server records times."""
    stamps: Stamps = {}
    for number in range(-WARM_UP, QUESTIONS):
        name = f"{kind}{number // TURNS}"
        ask = question(name, number, f"{name}-{number}")
        hops: dict[str, float] = {"published": time.monotonic()}
        hops["seen"], hops["stored"] = await them.seen_and_stored(ask)
        if number >= 0:
            stamps[ask.id] = hops
    return stamps


def _median_ms(kind: str, stamps: Stamps, begin: str, end: str) -> float:
    for hop in (begin, end):
        if missing := sum(hop not in hops for hops in stamps.values()):
            raise NotStamped(f"{kind}: {missing} of {len(stamps)} questions did not pass {hop!r}")
    return statistics.median(hops[end] - hops[begin] for hops in stamps.values()) * 1e3
