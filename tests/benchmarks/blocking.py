"""How long one hostile text of the maximum length blocks the event loop."""

import asyncio
import gc
import inspect
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bots.discord.posting import SHAPE as DISCORD
from bots.gateway.events import Refused, ask_of
from bots.parts import Shape, first_part_of, parts_of
from bots.slack.answer_blocks import SHAPE as SLACK
from bots.slack.markup import defanged, escaped, fallback, hosts, mentioned, plain
from bots.slack.rich_message import enclosed_in, words_of
from bots.terminal.sanitizing import sanitized
from dataflow.model.answer_text import ANSWER_LIMIT_CHARS
from shared.event_parsing import Unreadable, event_of
from shared.messages import TEXT_LIMIT_CHARS
from tests.benchmarks.figures import Figure, Target
from tests.hostile import HOSTILE

BLOCKED_MS: Final = 50.0
TICK_S: Final = 0.0005
SLACK_TEXT_CHARS: Final = 40_000
"""Slack's limit for a message: https://docs.slack.dev/reference/methods/chat.postMessage"""

Work = Callable[[Any], object]
IDLE: Final = "an idle loop"


@dataclass(frozen=True, slots=True)
class Case:
    """Work on an input that `made` builds from a text of this length."""

    chars: int
    work: Work
    made: Callable[[str], Any] = str


def _message(text: str) -> dict[str, Any]:
    leaf = {"type": "text", "text": text}
    rich = {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [leaf]}]}
    return {"text": "", "blocks": [rich], "attachments": [{"is_share": True, "text": text}]}


def _request(data: bytes) -> None:
    try:
        ask_of(data, {}, "", now=datetime.now(UTC), fresh_id="x", guest=False)
    except (Refused, ValueError):
        return


def _event(data: bytes) -> None:
    try:
        event_of(data, "slack:U1")
    except Unreadable:
        return


def _answer(shape: Shape) -> Case:
    return Case(ANSWER_LIMIT_CHARS, lambda text: parts_of(shape, text))


def _preview(shape: Shape) -> Case:
    room = shape.text_limit_chars
    return Case(ANSWER_LIMIT_CHARS, lambda text: first_part_of(shape, text, room=room))


CASES: Final[dict[str, Case]] = {
    "a Slack message": Case(SLACK_TEXT_CHARS, lambda t: (plain(t, {}), mentioned(t), hosts(t))),
    "the blocks and attachments of a Slack message": Case(
        SLACK_TEXT_CHARS, lambda message: (words_of(message), enclosed_in(message)), _message
    ),
    "a part for Slack": Case(
        SLACK.text_limit_chars, lambda t: (escaped(defanged(t, frozenset())), fallback(t))
    ),
    "an answer for Slack": _answer(SLACK),
    "a preview for Slack": _preview(SLACK),
    "an answer for Discord": _answer(DISCORD),
    "a preview for Discord": _preview(DISCORD),
    "a NATS request": Case(
        TEXT_LIMIT_CHARS, _request, lambda t: json.dumps({"user_id": "a", "prompt": t}).encode()
    ),
    "an event in the stream": Case(
        TEXT_LIMIT_CHARS, _event, lambda t: json.dumps({"kind": "ask", "text": t}).encode()
    ),
    "an answer in the terminal": Case(ANSWER_LIMIT_CHARS, sanitized),
}


async def longest_block_ms(work: Work, made: object) -> float:
    """Returns the longest time during which the loop could do nothing else."""
    longest = 0.0
    done = asyncio.Event()

    async def watch() -> None:
        nonlocal longest
        last = time.perf_counter()
        while not done.is_set():
            await asyncio.sleep(TICK_S)
            now = time.perf_counter()
            longest, last = max(longest, now - last - TICK_S), now

    watching = asyncio.create_task(watch())
    await asyncio.sleep(2 * TICK_S)
    outcome: Any = work(made)
    if inspect.isawaitable(outcome):
        await outcome
    await asyncio.sleep(2 * TICK_S)
    done.set()
    await watching
    return longest * 1e3


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Turns it off: this process has more objects than an adapter, so it would take longer here."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def measure(home: Path) -> list[Figure]:
    """Measures the worst hostile text for each kind of work. The better of two runs counts."""
    del home
    figures = []
    with _without_garbage_collection():
        for what, case in CASES.items():
            worst, idle = 0.0, 0.0
            for text_of_length in HOSTILE.values():
                made = case.made(text_of_length(case.chars)[: case.chars])
                blocked = min([await longest_block_ms(case.work, made) for _ in range(2)])
                idle = max(idle, min([await longest_block_ms(bool, made) for _ in range(2)]))
                worst = max(worst, blocked)
            target = Target("value", at_most=BLOCKED_MS)
            figures.append(Figure(f"event loop blocked by {what}", worst, "ms", IDLE, idle, target))
    return figures
