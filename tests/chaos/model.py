"""A model that never gives the same answer twice, so that each text can be traced to one call.

An answer consists of words `t<number>w<place>` and the marker of its question.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.fakes.model import FakeModel

MARKER: Final = re.compile(r"\bm(\d+)x\b")
TOKEN: Final = re.compile(r"\bt(\d+)w\d+\b")
QUOTED: Final = re.compile(r"<quoted>.*?</quoted>", re.DOTALL)
BACKGROUND: Final = re.compile(r"<background>.*?</background>\s*", re.DOTALL)
WORDS, LONG_WORDS = (5, 25), (520, 620)
"""Words per answer. A long answer takes two messages on both platforms."""

PIECE_CHARS: Final = 60
PICTURE_CHARS: Final = 40
PAUSE_S: Final = 0.02
DELAY_S: Final = 0.35


@dataclass(frozen=True, slots=True)
class Answer:
    """One call: its number, the number of the question's act, and the messages that were sent."""

    token: int
    about: int
    messages: list[dict[str, Any]]


def content_of(message: dict[str, Any]) -> str:
    """Returns a message's texts, and the first characters of each picture."""
    content = message["content"]
    if isinstance(content, str):
        return content
    return "\n".join(
        part["text"] if part["type"] == "text" else part["image_url"]["url"][:PICTURE_CHARS]
        for part in content
    )


def question_of(messages: list[dict[str, Any]]) -> str:
    """Returns the user's own question, without quotes and background."""
    return BACKGROUND.sub("", QUOTED.sub("", content_of(messages[-1])))


def asked_about(messages: list[dict[str, Any]]) -> int:
    """Returns the number of the act that asked the question, or 0 if there is none."""
    found = MARKER.findall(question_of(messages))
    return int(found[-1]) if found else 0


class ChaosModel(FakeModel):
    """Waits a random time, answers in pieces, and records each request."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(piece_chars=PIECE_CHARS, pause_s=PAUSE_S)
        self.reply = self._reply
        self.rng = rng
        self.answers: list[Answer] = []
        self.hook: Callable[[], None] = lambda: None
        """Called when a request arrives."""

    def _reply(self, request: dict[str, Any]) -> str:
        about = asked_about(request["messages"])
        self.hook()
        token = len(self.answers) + 1
        self.answers.append(Answer(token, about, request["messages"]))
        self.delay_s = self.rng.uniform(0, DELAY_S)
        long = "at length" in content_of(request["messages"][-1])
        count = self.rng.randint(*(LONG_WORDS if long else WORDS))
        words = [f"t{token}w{place}" for place in range(count)]
        words.insert(1, f"re m{about}x")
        return " ".join(words)
