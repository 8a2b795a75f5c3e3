"""Computes which turns should be remembered for a user, from the stream and the journal. Pure.

The rules are written again here, so that mistakes of the product are found. A turn is a question
with its answer. Failures and refusals are not turns. A reset forgets all earlier turns that an
answer in its place could use. A deleted question is withdrawn. A new answer to a question replaces
the old one.
"""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from tests.chaos.model import BACKGROUND, content_of
from tests.chaos.said import may_hear
from tests.chaos.world import Event, Reply

Turns = list[tuple[str, str]]

QUOTES: Final = re.compile(r"[^\n]*\n<quoted>.*?</quoted>\n\n", re.DOTALL)
FILE: Final = re.compile(r"File ([^\n]*):\n<file>.*?</file>\n\n", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Turn:
    event: Event
    question: str
    answer: str
    place_in_order: int


def remembered(
    last: Event, events: list[Event], replies: list[Reply]
) -> tuple[Turns, Counter[tuple[str, str]]]:
    """Returns the turns before a question: those of its thread in order, the others in any order.

    `events`: all events of this user.
    """
    by_prompt = {reply.prompt_id: reply for reply in replies}
    events = [event for event in events if event.sequence < last.sequence]
    files = {event.id: event.files for event in events}
    turns: dict[str, _Turn] = {}
    asked_first: dict[str, str] = {}
    for event in sorted(events, key=lambda e: e.sequence):
        reply = by_prompt.get(event.id)
        # A failed question keeps its place in the order, in case it is answered again.
        kept = reply is not None and reply.outcome in {"answered", "stopped", "failed"}
        if not event.wants_answer or reply is None or not kept:
            continue
        order, first = reply.sequence, event.id
        if event.kind == "again":
            first = asked_first.get(event.about, event.about)
            if (old := turns.pop(first, None)) is not None:
                order = old.place_in_order
        asked_first[event.id] = first
        if _is_forgotten(event, first, events):
            continue
        answer = "" if reply.outcome == "failed" else reply.text.strip() and reply.text
        question = "\n".join([reply.question or event.text, *files.get(first, ())])
        turns[first] = _Turn(event, question, answer, order)
    here: Turns = []
    elsewhere: Counter[tuple[str, str]] = Counter()
    for turn in sorted(turns.values(), key=lambda t: t.place_in_order):
        if not turn.answer:
            continue
        words = (turn.question, turn.answer)
        spot = turn.event.spot
        if (spot.channel, spot.thread) == (last.spot.channel, last.spot.thread):
            here.append(words)
        elif may_hear(spot, last.spot):
            elsewhere[words] += 1
    return here, elsewhere


def _is_forgotten(event: Event, first: str, events: list[Event]) -> bool:
    """Whether a turn was reset or deleted.

    `first`: the question that this event asked again, or itself.
    """
    return any(
        later.sequence > event.sequence
        and (
            (later.kind == "reset" and may_hear(event.spot, later.spot))
            or (later.kind == "deleted" and later.about in {event.id, first})
        )
        for later in events
    )


def sent_history(messages: list[dict[str, Any]]) -> tuple[Turns, Counter[tuple[str, str]]]:
    """Returns the turns that the model was sent, as `remembered` does.

    Turns from elsewhere are in the background of the question that first included them. Small files
    and quotes are in their questions: files are replaced by their names, and quotes are dropped,
    because the checker judges them separately.
    """
    _, *rest = (content_of(message) for message in messages)
    here = [(_own_words(rest[at]), rest[at + 1]) for at in range(0, len(rest) - 1, 2)]
    elsewhere: Counter[tuple[str, str]] = Counter()
    for background in BACKGROUND.findall("\n".join(rest)):
        for pair in background.removesuffix("\n</background>\n\n").split("\nThey: ")[1:]:
            question, _, answer = pair.partition("\nYou: ")
            elsewhere[question, answer] += 1
    return here, elsewhere


def _own_words(question: str) -> str:
    words = QUOTES.sub("", BACKGROUND.sub("", question))
    names = [f"[file: {name}]" for name in FILE.findall(words)]
    return "\n".join([FILE.sub("", words), *names])
