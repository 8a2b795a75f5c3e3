"""What the model is sent: the persona, the turns of this thread, and the question with its context.

Pure. The beginning of a thread's requests must stay the same from question to question, because
endpoints then read it from a cache: only the end grows, until a request does not fit.
`docs/decisions/0011-requests-grow-at-their-end.md` has the reasons.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from dataflow.data_tags import asked_with
from dataflow.history import Past
from dataflow.tokens import (
    FIRST_RATIO,
    IMAGE_TOKENS,
    estimated_tokens,
    message_tokens,
    newest_that_fit,
)
from dataflow.turns import NO_CONTEXT, Context, Turn
from shared.messages import Ask, Quote

TRIM_TO: Final = 0.6
"""Of the room, once a request does not fit: no cache helps a trimmed request, so that it makes room
for many questions."""

BACKGROUND_SHARE: Final = 0.25
"""At most this part of the room goes to what one question is told of other threads."""

DATA_SHARE: Final = 0.125
"""Quotes and files of one question stay in later requests if they take at most this part of the
room. Larger ones are replaced by their names once the question is answered."""

PASSING: Final = 0.8
"""If a request would take at most this part of the room without the large files and pictures of its
question, these alone make it too long. They are gone from the next request, which can begin where
this one would have begun."""

QUOTES_SHARE: Final = 0.5
"""At most this part of the room that the question leaves goes to quotes; the oldest are left out
first. Adapters choose them without knowing the window."""

ChatMessage = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Window:
    """A model's context window and who the bot is by default."""

    context_tokens: int
    answer_tokens: int
    system_prompt: str


@dataclass(frozen=True, slots=True)
class Request:
    """The messages for one model call and their estimated tokens, uncorrected.

    `context` belongs to the question's turn. Later requests of the thread begin at the order `cut`.
    """

    messages: tuple[ChatMessage, ...]
    estimated_tokens: int
    context: Context = NO_CONTEXT
    cut: int = 0


class TooLong(Exception):
    """The question alone is more than the model can read."""


def request_of(
    ask: Ask, turns: list[Turn], window: Window, ratio: float, *, cut: int = 0
) -> Request:
    """The request for a question, after the given turns, trimmed to the window.

    `ratio` is counted over estimated tokens. The thread begins at the order `cut`.

    Raises:
        TooLong: even alone, and by a lenient estimate, the question does not fit.
    """
    room = int((window.context_tokens - window.answer_tokens) / ratio)
    persona = ask.persona or window.system_prompt
    system = message_tokens(persona)
    alone = system + _tokens(ask, ())
    if alone / FIRST_RATIO > room:
        raise TooLong
    quotes = _newest(ask.quotes, int((room - alone) * QUOTES_SHARE))
    past = Past(turns, ask.place, cut)
    told = past.not_told(int(room * BACKGROUND_SHARE))
    new = _not_shown(quotes, past.kept)
    fixed = system + _tokens(ask, new) if new else alone
    used = past.tokens + past.background_tokens(told)
    if fixed + used > room:
        stays = _in_full(ask, new) if _stays(ask, new, room) else _by_name(ask)
        passing = system + message_tokens(stays) + used <= room * PASSING
        # With all quotes: the turns that show some of them may be among those that go.
        left = max(room - system - _tokens(ask, quotes), 0)
        told, first = _trimmed(past, told, left, int(room * BACKGROUND_SHARE), passing=passing)
        cut = cut if passing else max(cut, first)
        new = _not_shown(quotes, past.kept)
        fixed = system + _tokens(ask, new) if new else alone
        used = past.tokens + past.background_tokens(told)

    messages: list[ChatMessage] = [{"role": "system", "content": persona}]
    for turn in past.kept:
        told_with = turn.context.told
        asked = past.background(told_with) + turn.asked if told_with else turn.asked
        messages.append({"role": "user", "content": asked})
        messages.append({"role": "assistant", "content": turn.answer})
    question = (past.background(told) if told else "") + _in_full(ask, new)
    messages.append({"role": "user", "content": question})
    left_out, in_full = past.left_out(told), _stays(ask, new, room)
    # Most questions have none: their turns share one value.
    has_context = told or left_out or new or in_full
    context = Context(told, left_out, new, in_full) if has_context else NO_CONTEXT
    return Request(tuple(messages), fixed + used, context, cut)


def _trimmed(
    past: Past, told: tuple[int, ...], left: int, background_room: int, *, passing: bool
) -> tuple[tuple[int, ...], int]:
    """Leaves out old turns; returns what the question is told then, and the first order kept.

    `left` is the room without persona and question; `passing`: the next request has more of it.
    """
    goal = left if passing else int(left * TRIM_TO)
    end = past.kept[-1].order + 1 if past.kept else 0
    past.keep_newest(goal - past.background_tokens(told), last=left)
    if past.tokens + past.background_tokens(told) > left:
        told = past.not_told(min(background_room, left - past.tokens))
    if not passing:
        # Turns that told of other threads are gone: their background may come again.
        spare = min(background_room - past.tokens_told, goal - past.tokens)
        if spare > past.background_tokens(told):
            told = past.not_told(spare, again=True)
    return told, past.kept[0].order if past.kept else end


def _in_full(ask: Ask, quotes: tuple[Quote, ...]) -> str:
    return asked_with(ask.text, ask.attachments, quotes, in_full=True)


def _by_name(ask: Ask) -> str:
    return asked_with(ask.text, ask.attachments, in_full=False)


def _tokens(ask: Ask, quotes: tuple[Quote, ...]) -> int:
    tokens = message_tokens(_in_full(ask, quotes))
    if ask.attachments:
        tokens += IMAGE_TOKENS * sum(file.blob is not None for file in ask.attachments)
    return tokens


def _stays(ask: Ask, quotes: tuple[Quote, ...], room: int) -> bool:
    """Whether later requests show the quotes and the texts of the files, too."""
    if not quotes and all(attachment.text is None for attachment in ask.attachments):
        return False
    data = estimated_tokens(_in_full(ask, quotes)) - estimated_tokens(_by_name(ask))
    return data <= room * DATA_SHARE


def _newest(quotes: tuple[Quote, ...], room: int) -> tuple[Quote, ...]:
    if not quotes:
        return ()
    costs = [message_tokens(quote.author + quote.text) for quote in quotes]
    return quotes[len(quotes) - newest_that_fit(costs, room) :]


def _not_shown(quotes: tuple[Quote, ...], kept: list[Turn]) -> tuple[Quote, ...]:
    """The quotes that no kept turn shows: adapters send a thread's with every question.

    The last one is the message right above the question, or the one that it answers. It is shown
    again unless it was the last one before, too.
    """
    if not quotes:
        return ()
    shown = [quote for turn in kept if turn.context.in_full for quote in turn.context.quotes]
    left = Counter(shown)
    new = []
    for quote in quotes:
        if left[quote]:
            left[quote] -= 1
        else:
            new.append(quote)
    if shown and quotes[-1] != shown[-1] and (not new or new[-1] is not quotes[-1]):
        new.append(quotes[-1])
    return tuple(new)
