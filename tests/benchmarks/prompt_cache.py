"""The share of each prompt that the embedded model server reads from its cache, by its own count.

The real rules of a conversation create the requests, and the real server answers them one after
another. There is no NATS, because only the shape of the requests matters.
"""

import itertools
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import openai

from dataflow.conversation import Conversation
from dataflow.effects import CallModel
from dataflow.model.dialects import DEMO_SYSTEM_PROMPT
from dataflow.tokens import Window
from ops.embedded_model import CONTEXT_TOKENS, MODEL_NAME
from shared.messages import Ask, Place, Quote
from shared.replies import Journaled, Reply, Usage
from shared.settings import Settings
from tests.benchmarks.figures import Figure, Target
from tests.running import Running

TURNS: Final = 30
"""Questions in each of two threads that alternate."""

FITTING_TURNS: Final = 34
"""Questions in one thread with short answers, which fits the window completely."""

ANSWER_TOKENS: Final = 32
SHORT_ANSWER_TOKENS: Final = 16
"""Every answer has this length, so that the requests do not depend on the model."""

WINDOW: Final = Window(CONTEXT_TOKENS, 200, DEMO_SYSTEM_PROMPT)
START: Final = datetime(2026, 1, 1, tzinfo=UTC)
WORDS: Final = (
    "garden", "river", "copper", "window", "lantern", "harbour", "meadow", "violin", "engine",
    "cellar", "letter", "winter", "bridge", "orchard", "kettle", "compass", "marble", "feather",
    "station", "pepper", "curtain", "anchor", "basket", "thunder",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Called:
    """The server's counts for one call, and the seconds to its first text."""

    prompt_tokens: int
    cached_tokens: int
    first_s: float


@dataclass
class Person:
    """One user and the user's conversation."""

    name: str
    talk: Conversation = field(default_factory=lambda: Conversation(WINDOW))
    number: "itertools.count[int]" = field(default_factory=itertools.count)

    def asks(self, thread: str, text: str, quotes: tuple[Quote, ...] = ()) -> CallModel:
        """Asks a question. Returns the model call."""
        number = next(self.number)
        ask = Ask(
            id=f"{self.name}-{number}", user=f"test:{self.name}",
            place=Place(platform="test", channel=self.name, thread=thread, audience="direct"),
            said_at=START + timedelta(seconds=number), text=text, quotes=quotes,
        )  # fmt: skip
        (call,) = self.talk.on_event(ask, replayed=False)
        assert isinstance(call, CallModel)
        return call

    def hears(self, call: CallModel, text: str, prompt_tokens: int) -> None:
        """Gives the conversation the answer, as the journal returns it."""
        ask = call.ask
        reply = Reply(
            prompt_id=ask.id, user=ask.user, place=ask.place, outcome="answered", text=text,
            prompt_text=ask.text, usage=Usage(prompt_tokens=prompt_tokens), said_at=ask.said_at,
            answered_at=ask.said_at,
        )  # fmt: skip
        assert self.talk.on_reply(Journaled(reply)) == []


def question(number: int, about: str) -> str:
    """Returns a question of about thirty tokens, different for each number."""
    words = [WORDS[(number * step + step) % len(WORDS)] for step in (5, 7, 11)]
    return (
        f"Question {number} about my {about}: which of the {words[0]}, the {words[1]} and "
        f"the {words[2]} should come first, and why?"
    )


def interleaved() -> Iterator[tuple[str, str, str, tuple[Quote, ...]]]:
    """Ada asks in two threads, sometimes with quotes; Bob asks after every second pair."""
    for number in range(TURNS):
        quotes = ()
        if number % 3 == 0:
            quotes = tuple(
                Quote(author=author, text=f"I would take the {WORDS[(number + at) % 24]} first.")
                for at, author in enumerate(("Cyd", "Dee", "Eve"))
            )
        yield "ada", "kitchen", question(number, "kitchen"), quotes
        yield "ada", "holiday", question(100 + number, "holiday"), ()
        if number % 2:
            yield "bob", "bicycle", question(200 + number, "bicycle"), ()


def fitting() -> Iterator[tuple[str, str, str, tuple[Quote, ...]]]:
    """Ada asks in one thread, and sometimes in another one."""
    for number in range(FITTING_TURNS):
        yield "ada", "kitchen", f"{number}: what rhymes with {WORDS[number % 24]}?", ()
        if number % 8 == 4:
            yield "ada", "holiday", f"{number}: what is a {WORDS[number % 24]}?", ()


async def measure(home: Path) -> list[Figure]:
    """Measures both cases, each on a server with an empty cache."""
    two = await _called(home / "two", interleaved(), ANSWER_TOKENS)
    one = await _called(home / "one", fitting(), SHORT_ANSWER_TOKENS)
    pair = two["ada/kitchen"] + two["ada/holiday"]
    late = two["ada/kitchen"][-TURNS // 3 :] + two["ada/holiday"][-TURNS // 3 :]
    return [
        *_figures("two alternating threads", pair, Target("value", at_least=65)),
        *_figures("two alternating threads, last third", late),
        *_figures("a thread that fits", one["ada/kitchen"], Target("value", at_least=95)),
    ]


def _figures(what: str, calls: list[Called], target: Target | None = None) -> list[Figure]:
    prompts = sum(call.prompt_tokens for call in calls)
    cached = sum(call.cached_tokens for call in calls)
    return [
        Figure(f"{what}: prompt from the cache", 100 * cached / prompts, "%", target=target),
        Figure(f"{what}: prompt, mean", prompts / len(calls), "tokens"),
        Figure(f"{what}: not cached, mean", (prompts - cached) / len(calls), "tokens"),
        Figure(f"{what}: first token, mean", statistics.mean(c.first_s for c in calls), "s"),
    ]


async def _called(
    home: Path, script: Iterator[tuple[str, str, str, tuple[Quote, ...]]], answer_tokens: int
) -> dict[str, list[Called]]:
    """Asks the questions of the script one after another. Returns the calls by thread."""
    home.mkdir(parents=True)
    server = Running("model", log=home / "model.log", env={"THREADWAX_HOME": str(home)}).start()
    await server.ready()
    found = json.loads(Settings(THREADWAX_HOME=home).embedded_model_file.read_text())
    people: dict[str, Person] = {}
    calls: defaultdict[str, list[Called]] = defaultdict(list)
    try:
        async with openai.AsyncOpenAI(
            base_url=found["base_url"], api_key=found["api_key"], max_retries=0, timeout=300,
            default_headers={"Connection": "close"},
        ) as client:  # fmt: skip
            for name, thread, text, quotes in script:
                person = people.setdefault(name, Person(name))
                call = person.asks(thread, text, quotes)
                answer, called = await _answer(client, call.request.messages, answer_tokens)
                person.hears(call, answer, called.prompt_tokens)
                calls[f"{name}/{thread}"].append(called)
    finally:
        server.kill()
    return calls


async def _answer(client: openai.AsyncOpenAI, messages: Any, tokens: int) -> tuple[str, Called]:
    begin = time.monotonic()
    first_s = 0.0
    pieces: list[str] = []
    usage: Any = None
    stream = await client.chat.completions.create(
        model=MODEL_NAME, messages=list(messages), stream=True, max_tokens=tokens,
        temperature=0.0, stream_options={"include_usage": True},
        extra_body={"ignore_eos": True, "repeat_penalty": 1.1},
    )  # fmt: skip
    async for chunk in stream:
        usage = chunk.usage or usage
        piece = chunk.choices[0].delta.content if chunk.choices else None
        if piece:
            first_s = first_s or time.monotonic() - begin
            pieces.append(piece)
    cached = usage.prompt_tokens_details.cached_tokens
    return "".join(pieces), Called(usage.prompt_tokens, cached, first_s)
