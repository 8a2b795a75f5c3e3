"""A conversation of 400 turns with and without summaries: what is still known, and what it costs.

The real flow and the real `openai` client ask a model that writes notes as it is told to: it copies
each sentence with a number. The figures are about requests, which the model records. How good the
notes of another model are is not measured.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dataflow.data_tags import SUMMARY_HEAD
from dataflow.summary import INSTRUCTION
from shared.bus import Bus
from shared.replies import Reply
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.processes import flow, nats, started
from tests.benchmarks.prompt_cache import WORDS
from tests.fakes.model import FakeModel
from tests.running import answer_to, question

TURNS: Final = 400
FACT: Final = "My locker is number 4711."
FACT_AT: Final = 3
"""The turn in which the person says it, never to be repeated."""

CONTEXTS: Final = (8_192, 32_768)

CACHED_PRICE: Final = 0.1
COMPLETION_PRICE: Final = 5
"""Compared with a prompt token that is not cached, at OpenAI in November 2026."""

ASKED_FOR: Final = INSTRUCTION.partition("{")[0]
_NOTE: Final = re.compile(r"[A-Z][^.!?\n]*\d[^.!?\n]*\.")
NOTES_LIMIT_CHARS: Final = 1_000


def reply(request: dict[str, Any]) -> str:
    """Notes if it is asked for them, else an answer of some 120 tokens."""
    contents = [str(message["content"]) for message in request["messages"]]
    if not contents[-1].startswith(ASKED_FOR):
        number = len(contents)
        words = (WORDS[(number * step) % len(WORDS)] for step in range(1, 66))
        return f"Well, {' '.join(words)}."
    said = (text for text in contents[1:-1] if SUMMARY_HEAD in text or text.startswith("So "))
    found = dict.fromkeys(note for text in said for note in _NOTE.findall(text))
    kept, left = [], NOTES_LIMIT_CHARS
    for note in found:  # the oldest first
        left -= len(note) + 1
        if left < 0:
            break
        kept.append(note)
    return " ".join(kept)


def questions() -> Iterator[str]:
    """Some 120 tokens each; every seventh contains a fact with a number."""
    for number in itertools.count(1):
        words = " ".join(WORDS[(number * step) % len(WORDS)] for step in range(1, 60))
        fact = FACT if number == FACT_AT else f"My box {number} is on shelf {number % 9}."
        yield f"So {words}. {fact if number == FACT_AT or number % 7 == 0 else ''}".strip()


@dataclass(frozen=True, slots=True)
class Recorded:
    """The requests of one conversation, in order, and its replies."""

    requests: list[dict[str, Any]]
    replies: list[Reply]

    @property
    def answers(self) -> list[str]:
        """The text of each request for an answer."""
        return [text for text in map(text_of, self.requests) if not is_for_notes(text)]

    @property
    def known(self) -> int:
        """How many requests for an answer contain the fact, from its turn on."""
        return sum(FACT in text for text in self.answers[FACT_AT - 1 :])

    @property
    def summaries(self) -> int:
        """How many summaries were asked for."""
        return sum(is_for_notes(text_of(request)) for request in self.requests)

    @property
    def prompt_tokens(self) -> int:
        """Estimated at four characters each."""
        return sum(len(text_of(request)) for request in self.requests) // 4

    @property
    def written_tokens(self) -> int:
        """The tokens of the summaries, as the replies report them."""
        calls = (call for reply in self.replies for call in reply.background)
        return sum(call.usage.completion_tokens for call in calls if call.usage is not None)

    @property
    def cost(self) -> float:
        """The cost of all prompts and summaries, in prompt tokens that are not cached."""
        cached = self.prompt_tokens * self.cached_share
        read = self.prompt_tokens - cached + cached * CACHED_PRICE
        return read + self.written_tokens * COMPLETION_PRICE

    @property
    def cached_share(self) -> float:
        """The share of the prompts that an earlier request of the same conversation began with.

        As for an endpoint that finds the longest common prefix, and forgets nothing.
        """
        cached, before = 0, [""]
        for request in self.requests:
            text = text_of(request)
            # Older requests have less in common with this one.
            cached += max(_common(text, other) for other in before[-40:])
            before.append(text)
        return cached / sum(len(text_of(request)) for request in self.requests)


def text_of(request: dict[str, Any]) -> str:
    """A request as one text."""
    return "\0".join(f"{m['role']}\0{m['content']}" for m in request["messages"])


def is_for_notes(text: str) -> bool:
    """Whether a request asks for a summary."""
    return text.rpartition("\0")[2].startswith(ASKED_FOR)


def _common(one: str, other: str) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


async def talk(home: Path, context_tokens: int, *, turns: int = TURNS, **env: str) -> Recorded:
    """One person's conversation, one question after the other."""
    model = await FakeModel(reply=reply).start()
    try:
        async with nats(home) as server:
            process = flow(
                home, server.url, model.base_url,
                THREADWAX_CONTEXT_TOKENS=str(context_tokens), THREADWAX_ANSWER_TOKENS="1024", **env,
            )  # fmt: skip
            async with started(process):
                bus = await Bus.connect(server.url, name="bench")
                texts = itertools.islice(questions(), turns)
                replies = [
                    await answer_to(bus, question("ada", number, text))
                    for number, text in enumerate(texts, 1)
                ]
                await bus.close()
    finally:
        await model.stop()
    return Recorded(model.requests, replies)


async def measure(home: Path) -> list[Figure]:
    """The same conversation with and without summaries, in two windows."""
    figures: list[Figure] = []
    for context in CONTEXTS:
        without = await talk(home / f"without{context}", context, THREADWAX_SUMMARIES="false")
        found = await talk(home / f"with{context}", context)
        figures += _figures(f"{context:,} tokens", found, without)
    return figures


def _figures(window: str, found: Recorded, without: Recorded) -> list[Figure]:
    beside = "without summaries"
    expected = TURNS - FACT_AT + 1
    all_turns = Target("value", at_least=100)

    def compared(what: str, unit: str, value: float, floor: float) -> Figure:
        return Figure(f"{window}: {what}", value, unit, beside, floor)

    return [
        Figure(
            f"{window}: requests with the fact of turn {FACT_AT}", 100 * found.known / expected,
            "%", beside, 100 * without.known / expected, all_turns,
        ),
        compared("calls for summaries", "", found.summaries, without.summaries),
        compared("tokens of summaries", "", found.written_tokens, without.written_tokens),
        compared("prompt tokens", "", found.prompt_tokens, without.prompt_tokens),
        compared(
            "prompt read from a cache", "%", 100 * found.cached_share, 100 * without.cached_share
        ),
        compared("cost, in tokens that are not cached", "", found.cost, without.cost),
        compared(
            "prompt not read from a cache", "tokens",
            found.prompt_tokens * (1 - found.cached_share),
            without.prompt_tokens * (1 - without.cached_share),
        ),
    ]  # fmt: skip
