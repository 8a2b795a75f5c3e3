"""Turns whose texts are redacted: what was found in them is replaced by its kind.

Pure. It must redact every text of a turn: a row or an example can contain each of them.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ops.export.turns import Turn


@dataclass(frozen=True, slots=True)
class Found:
    """What a recognizer found: where, and what kind of thing, such as EMAIL_ADDRESS."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Redaction:
    """How texts are redacted. `kinds` is what `find` looks for; `by` is the library's version."""

    find: Callable[[str], Iterable[Found]]
    kinds: tuple[str, ...]
    by: str


@dataclass(frozen=True, slots=True)
class RedactedTurn:
    """A turn without what was found in its texts, and how often each kind was replaced."""

    turn: Turn
    replaced: Counter[str]


def redacted(turn: Turn, redaction: Redaction) -> RedactedTurn:
    """The turn with all its texts redacted; ids stay."""
    counts = Counter[str]()

    def clean(text: str | None) -> str | None:
        if not text:
            return text
        found = without_overlaps(redaction.find(text))
        counts.update(each.kind for each in found)
        return replaced(text, found)

    def clean_answer(answer: str | None) -> str | None:
        # Our own notes at its end must stay as they are, because they are recognized later.
        plain = turn.plain_answer
        return answer and f"{clean(plain)}{answer[len(plain) :]}"

    rating = turn.rating and replace(
        turn.rating, reason=clean(turn.rating.reason), correction=clean(turn.rating.correction)
    )
    clean_turn = replace(
        turn, question=clean(turn.question), answer=clean_answer(turn.answer),
        persona=clean(turn.persona), rating=rating,
    )  # fmt: skip
    return RedactedTurn(clean_turn, counts)


def without_overlaps(found: Iterable[Found]) -> list[Found]:
    """The findings in order; those that overlap are joined and have the kind of the first.

    If several begin at the same character, the longest comes first.
    """
    joined: list[Found] = []
    for each in sorted(found, key=lambda each: (each.start, -each.end, each.kind)):
        if joined and each.start < joined[-1].end:
            joined[-1] = replace(joined[-1], end=max(joined[-1].end, each.end))
        else:
            joined.append(each)
    return joined


def replaced(text: str, found: Iterable[Found]) -> str:
    """The text with each finding replaced by its kind, as in <EMAIL_ADDRESS>."""
    pieces: list[str] = []
    end = 0
    for each in found:
        pieces += [text[end : each.start], f"<{each.kind}>"]
        end = each.end
    return "".join((*pieces, text[end:]))
