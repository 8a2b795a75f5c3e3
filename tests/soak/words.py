"""The questions and answers of the soak, and the judgement of what users see. Pure.

Every word of an answer contains the number of its question, so the visible texts alone reveal an
answer that is missing, shown twice or shown in the wrong place.
"""

import random
import re
from collections import defaultdict
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Final

from dataflow.model.errors import NOTICES

WORDS: Final = (20, 80)
LONG_WORDS: Final = (350, 450)
"""A long answer takes two or three messages on both platforms."""

AT_LENGTH: Final = "at length"
BROKEN_OFF: Final = "[The answer broke off here."
STOPPED: Final = "(stopped)"
GROWING: Final = ("[typing]", "▌")
_WORD: Final = re.compile(r"\bm(\d+)w(\d+)\b")


@dataclass
class Question:
    """One question. `asked`: a time of the monotonic clock."""

    number: int
    long: bool
    asked: float

    @property
    def text(self) -> str:
        return f"m{self.number}x please tell{f' {AT_LENGTH}' if self.long else ''}"


@dataclass
class Judgement:
    """The outcome of each answered question, the open questions, and complaints."""

    outcomes: dict[int, str] = field(default_factory=dict)
    waiting: list[Question] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def word_count(number: int, *, long: bool) -> int:
    """Returns the number of words in the answer to this question, which is always the same."""
    return random.Random(number).randint(*(LONG_WORDS if long else WORDS))


def answer_text(number: int, *, long: bool) -> str:
    """Returns the model's answer to this question."""
    return " ".join(f"m{number}w{at}" for at in range(word_count(number, long=long)))


def judged(
    questions: Sequence[Question], texts: Sequence[str], *, stopped: Container[int]
) -> Judgement:
    """Judges the bot's texts in one place, in order, against the questions asked there.

    `stopped`: the numbers of the questions that a user may have stopped.
    """
    shown: defaultdict[int, list[int]] = defaultdict(list)
    growing: set[int] = set()
    broken: set[int] = set()
    notices: list[str] = []
    for text in texts:
        words = [(int(number), int(at)) for number, at in _WORD.findall(text)]
        for number, at in words:
            shown[number].append(at)
        if not words:
            notices.append(text)
        elif text.endswith(GROWING):
            growing.add(words[-1][0])
        elif BROKEN_OFF in text:
            broken.add(words[-1][0])
    found = Judgement()
    for question in questions:
        seen = shown.pop(question.number, [])
        whole = list(range(word_count(question.number, long=question.long)))
        outcome = None
        cut = question.number in stopped or question.number in broken
        complete = seen[:-1] if cut else seen  # the last word can be incomplete
        if not seen:
            outcome = _outcome_of(notices.pop(0)) if notices else None
        elif question.number in growing:
            pass
        elif seen == whole:
            outcome = "answered"
        elif complete != whole[: len(complete)]:
            found.wrong.append(f"m{question.number}x has {len(seen)} words of {len(whole)}: {seen}")
        elif question.number in broken:
            outcome = "broken off"
        elif question.number in stopped:
            outcome = "stopped"
        if outcome is None:
            found.waiting.append(question)
        else:
            found.outcomes[question.number] = outcome
    found.wrong += [f"an answer to m{number}x, which was not asked here" for number in shown]
    found.wrong += [f"one text too many: {text[:80]!r}" for text in notices]
    return found


def _outcome_of(notice: str) -> str:
    if notice == STOPPED:
        return "stopped"
    return "failed" if notice in NOTICES.values() else f"other: {notice[:60]}"
