"""What a user should be remembered by: worked out anew from the stream and the journal. Pure.

The rules are those of docs/architecture.md: a turn is a question with what was said to it; failures
and refusals are none; a reset forgets what was said before it where it could be recalled; a deleted
question is withdrawn; a new answer to a question takes the old one's place.
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
    """For a question: the turns of its thread in order, and those from elsewhere, in any order.

    `events` are all of this user.
    """
    by_prompt = {reply.prompt_id: reply for reply in replies}
    events = [event for event in events if event.sequence < last.sequence]
    files = {event.id: event.files for event in events}
    turns: dict[str, _Turn] = {}
    asked_first: dict[str, str] = {}
    for event in sorted(events, key=lambda e: e.sequence):
        reply = by_prompt.get(event.id)
        # A failure keeps the question's place in the order, for a newer answer.
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
    """`first` is the question to which it gave a newer answer, or it itself."""
    return any(
        later.sequence > event.sequence
        and (
            (later.kind == "reset" and may_hear(event.spot, later.spot))
            or (later.kind == "deleted" and later.about in {event.id, first})
        )
        for later in events
    )


def sent_history(messages: list[dict[str, Any]]) -> tuple[Turns, Counter[tuple[str, str]]]:
    """The same as the model was sent it.

    What was said elsewhere is in the questions with which it was told first. Small files and quotes
    are still in theirs; here the file counts by its name, and the checker has looked at the quotes.
    """
    _, *rest = (content_of(message) for message in messages)
    here = [(_own_words(rest[at]), rest[at + 1]) for at in range(0, len(rest) - 1, 2)]
    elsewhere: Counter[tuple[str, str]] = Counter()
    for told in BACKGROUND.findall("\n".join(rest)):
        for pair in told.removesuffix("\n</background>\n\n").split("\nThey: ")[1:]:
            question, _, answer = pair.partition("\nYou: ")
            elsewhere[question, answer] += 1
    return here, elsewhere


def _own_words(question: str) -> str:
    words = QUOTES.sub("", BACKGROUND.sub("", question))
    names = [f"[file: {name}]" for name in FILE.findall(words)]
    return "\n".join([FILE.sub("", words), *names])
