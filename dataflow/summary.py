"""Summaries of a thread's oldest turns: when one is made, from what, and when it is accepted.

Pure. A summary must never contain anything from another place, nor claim a turn that the model has
not seen. `docs/decisions/0013-summaries.md` has the reasons.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from dataflow.data_tags import UNDERSTOOD, asked_with, summary_of
from dataflow.model.answer_notes import is_cut_off, without_note
from dataflow.tokens import Window, estimated_tokens, message_tokens
from dataflow.truncation import ChatMessage
from dataflow.turn import Turn
from dataflow.turns import TOKENS_LIMIT, TURNS_LIMIT
from shared.messages import Place

ROOM_TOKENS: Final = 4_000
"""In a smaller room, a summary would be due every few turns."""

FOLD_AT: Final = 0.9
"""A summary is asked for if a thread takes this part of the room."""

FOLD_SHARE: Final = 0.5
"""The oldest turns, with this part of the thread's tokens, go into the summary."""

MEMORY_SHARE: Final = 0.45
"""If the user's memory is nearly full, a thread that takes this part of it is summarized."""

TEXT_SHARE: Final = 0.1
TEXT_TOKENS_LIMIT: Final = 1_500
"""The longest summary: this part of the room, and at most this many estimated tokens."""

SENT_SHARE: Final = 0.2
"""A summary that takes more of the room is not sent: the model has changed since it was made."""

AGAIN_AFTER: Final = 0.25
"""After a failure, a thread must grow by this part of the room before the next attempt."""

WORDS_PER_TOKEN: Final = 0.5
"""An English word takes 1.5 estimated tokens, and models write more than they are told to."""

COVERED_LIMIT: Final = 1_000
"""The newest ids of turns that a summary knows. More than the ids of all turns in memory."""

INSTRUCTION: Final = (
    "Write notes on our conversation above for yourself, in the past tense, at most {words} words. "
    "Copy every name, number, date, link, wish and decision exactly. Say what is still open. "
    "Keep everything of the earlier summary. Answer nothing."
)


@dataclass(frozen=True, slots=True)
class Summary:
    """The summary of a thread's turns up to the order `until`, all from exactly this `place`.

    `covers` has the digests of the ids of turns that it adds to the summary before it.
    `has_older`: it also covers turns whose ids are no longer known. `day` is that of the oldest
    turn in it, as in `Turn`.
    """

    place: Place
    text: str
    tokens: int
    until: int
    covers: tuple[str, ...]
    has_older: bool = False
    day: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Turns that are being summarized. `before` is the summary that the new one continues."""

    place: Place
    covers: tuple[str, ...]
    until: int
    before: Summary | None
    limit_tokens: int
    """The longest text that is accepted, in estimated tokens."""

    growth_needed: int
    """After a failure, the thread must grow by this many tokens before the next attempt."""

    day: int | None = None
    """The day of the oldest turn, also in `before`."""

    def summary(self, answer: str) -> Summary | None:
        """The summary, if the model's answer can be used as one."""
        text = without_note(answer).strip()
        if not text or is_cut_off(answer) or estimated_tokens(text) > self.limit_tokens:
            return None
        tokens = sum(message_tokens(content) for content in (summary_of(text), UNDERSTOOD))
        return Summary(self.place, text, tokens, self.until, self.covers, day=self.day)


def is_possible(window: Window) -> bool:
    """Whether summaries are made at all."""
    room = window.context_tokens - window.answer_tokens
    return window.summaries and room >= ROOM_TOKENS


def fills_memory(turns: Sequence[Turn]) -> bool:
    """Whether these turns take so much of a nearly full memory that summarizing them helps."""
    tokens = sum(turn.tokens for turn in turns)
    return len(turns) > TURNS_LIMIT * MEMORY_SHARE or tokens > TOKENS_LIMIT * MEMORY_SHARE


def digest(prompt_id: str) -> str:
    """Eight characters that identify a question."""
    hashed = hashlib.blake2b(prompt_id.encode(), digest_size=6).digest()
    return base64.urlsafe_b64encode(hashed).decode()


def digests(turns: Iterable[Turn]) -> tuple[str, ...]:
    """The digests of all ids of these turns."""
    return tuple(
        digest(prompt_id) for turn in turns for prompt_id in (turn.prompt_id, turn.first)
        if prompt_id is not None
    )  # fmt: skip


def oldest_day(turns: Iterable[Turn], before: Summary | None) -> int | None:
    """The day of the oldest turn in a summary that continues `before`; None if it is unknown."""
    days = [turn.day for turn in turns if turn.day is not None]
    if before is not None:
        if before.day is None:
            return None
        days.append(before.day)
    return min(days, default=None)


def oldest(turns: Sequence[Turn], costs: Sequence[int]) -> list[Turn]:
    """The oldest turns that have half of the tokens; at least one turn is left over."""
    goal = sum(costs) * FOLD_SHARE
    chosen: list[Turn] = []
    for turn, cost in zip(turns[:-1], costs, strict=False):
        if goal <= 0:
            break
        goal -= cost
        chosen.append(turn)
    return chosen


def source(turns: Sequence[Turn], room: int) -> list[Turn]:
    """The first of these turns that can be summarized together: in one call, and of one place.

    Turns that are too long for any call are left out.
    """
    turns = [turn for turn in turns if turn.tokens <= room]
    chosen: list[Turn] = []
    for turn in turns:
        room -= turn.tokens
        if room < 0 or turn.place != turns[0].place:
            break
        chosen.append(turn)
    return chosen


def pair(summary: Summary) -> tuple[ChatMessage, ChatMessage]:
    """The two messages after the persona by which the model gets a summary."""
    return (
        {"role": "user", "content": summary_of(summary.text)},
        {"role": "assistant", "content": UNDERSTOOD},
    )


def instruction(limit_tokens: int) -> str:
    """The message that asks for a summary of at most this many estimated tokens."""
    return INSTRUCTION.format(words=int(limit_tokens * WORDS_PER_TOKEN))


def messages(
    persona: str, before: Summary | None, turns: Iterable[Turn], limit_tokens: int
) -> tuple[ChatMessage, ...]:
    """The request for a summary. It begins like the thread's own requests, so a cache can help.

    It contains no backgrounds, which are from other places, and no quotes: other people's messages
    are forgotten when their turn leaves the requests.
    """
    made: list[ChatMessage] = [{"role": "system", "content": persona}]
    if before is not None:
        made += pair(before)
    for turn in turns:
        asked = asked_with(turn.question, turn.files, in_full=turn.context.in_full)
        made.append({"role": "user", "content": asked})
        made.append({"role": "assistant", "content": turn.answer})
    return (*made, {"role": "user", "content": instruction(limit_tokens)})
