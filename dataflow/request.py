"""The request to the model: persona, summary, the turns of this thread, the question in context.

Pure. The beginning of a thread's requests must stay the same from question to question, so that
endpoints can read it from a cache: only the end grows, until a request does not fit.
`docs/decisions/0011-requests-grow-at-their-end.md` has the reasons.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dataflow.data_tags import asked_with, background
from dataflow.history import BACKGROUND_TOKENS, History
from dataflow.linking import newest_exchanges
from dataflow.summary import SENT_SHARE, Summary, pair
from dataflow.tokens import (
    FIRST_RATIO,
    IMAGE_TOKENS,
    Window,
    estimated_tokens,
    message_tokens,
    newest_that_fit,
)
from dataflow.truncation import ChatMessage
from dataflow.turn import NO_CONTEXT, Context, Turn
from shared.messages import Ask, Quote

TRIM_TO: Final = 0.6
"""A request that does not fit is trimmed to this part of the room. No cache helps such a request,
so it makes room for many questions at once."""

BACKGROUND_SHARE: Final = 0.25
"""At most this part of the room is for the background of one question."""

DATA_SHARE: Final = 0.125
"""Quotes and files of one question stay in later requests if they take at most this part of the
room. Larger ones are replaced by their names once the question is answered."""

PASSING: Final = 0.8
"""If a request takes at most this part of the room without the large files and images of its
question, then only these make it too long. The next request does not contain them, so the thread
keeps its start."""

QUOTES_SHARE: Final = 0.5
"""At most this part of the room left by the question is for quotes; the oldest are left out first.
Adapters choose quotes without knowing the window."""


@dataclass(frozen=True, slots=True)
class Request:
    """The messages for one model call and their estimated tokens, not corrected by the ratio.

    `context` belongs to the question's turn. The thread's requests begin at the order `start`.
    `room` is the largest estimate that fits into the window.
    """

    messages: tuple[ChatMessage, ...]
    estimated_tokens: int
    context: Context = NO_CONTEXT
    start: int = 0
    room: int = 0


class TooLong(Exception):
    """The question alone is more than the model can read."""


def request_of(
    ask: Ask,
    turns: list[Turn],
    window: Window,
    ratio: float,
    *,
    start: int = 0,
    summary: Summary | None = None,
    linked: Sequence[Turn] = (),
) -> Request:
    """The request for a question after these turns, trimmed to the window.

    `ratio` is counted tokens divided by estimated tokens. The thread begins at the order `start`,
    after its `summary`. `linked` are turns under other accounts of this person: the newest are sent
    with this question only.

    Raises:
        TooLong: the question does not fit even alone and by a lenient estimate.
    """
    room = window.room(ratio)
    persona = ask.persona or window.system_prompt
    system = message_tokens(persona)
    alone = system + _tokens(ask, ())
    if alone / FIRST_RATIO > room:
        raise TooLong
    if summary is not None:
        if summary.tokens > min(room * SENT_SHARE, room - alone):
            summary = None
        else:
            system += summary.tokens
            alone += summary.tokens
    quotes = _newest(ask.quotes, int((room - alone) * QUOTES_SHARE))
    history = History(turns, ask.place, start)
    told = history.new_background(int(room * BACKGROUND_SHARE))
    new = _not_shown(quotes, history.kept)
    fixed = system + _tokens(ask, new) if new else alone
    used = history.tokens + history.background_tokens(told)
    if fixed + used > room:
        stays = _in_full(ask, new) if _stays(ask, new, room) else _by_name(ask)
        passing = system + message_tokens(stays) + used <= room * PASSING
        # All quotes count, because the turns that contain some of them may be dropped.
        left = max(room - system - _tokens(ask, quotes), 0)
        end = history.kept[-1].order + 1 if history.kept else 0
        told = _trimmed(history, told, left, int(room * BACKGROUND_SHARE), passing=passing)
        if not passing:
            start = max(start, history.kept[0].order if history.kept else end)
        new = _not_shown(quotes, history.kept)
        fixed = system + _tokens(ask, new) if new else alone
        used = history.tokens + history.background_tokens(told)

    messages: list[ChatMessage] = [{"role": "system", "content": persona}]
    if summary is not None:
        messages += pair(summary)
    for turn in history.kept:
        told_with = turn.context.told
        asked = history.background(told_with) + turn.asked if told_with else turn.asked
        messages.append({"role": "user", "content": asked})
        messages.append({"role": "assistant", "content": turn.answer})
    question = (history.background(told) if told else "") + _in_full(ask, new)
    if linked and (elsewhere := newest_exchanges(linked, room - fixed - used - BACKGROUND_TOKENS)):
        recalled = background(elsewhere)
        question = recalled + question
        used += message_tokens(recalled)
    messages.append({"role": "user", "content": question})
    left_out, in_full = history.left_out(told), _stays(ask, new, room)
    # Most questions have no context. Their turns share one value.
    has_context = told or left_out or new or in_full
    context = Context(told, left_out, new, in_full) if has_context else NO_CONTEXT
    return Request(tuple(messages), fixed + used, context, start, room)


def _trimmed(
    history: History, told: tuple[int, ...], left: int, background_room: int, *, passing: bool
) -> tuple[int, ...]:
    """Leaves out old turns; returns the orders of the background that then fits.

    `left` is the room without persona and question; `passing`: the next request will have more.
    """
    goal = left if passing else int(left * TRIM_TO)
    history.keep_newest(goal - history.background_tokens(told), last=left)
    if history.tokens + history.background_tokens(told) > left:
        told = history.new_background(min(background_room, left - history.tokens))
    if not passing:
        # Some backgrounds are gone with their turns, so their contents may be sent again.
        spare = min(background_room - history.background_tokens_kept, goal - history.tokens)
        if spare > history.background_tokens(told):
            told = history.new_background(spare, again=True)
    return told


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
    """Whether later requests also contain the quotes and the texts of the files."""
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
    """The quotes that no kept turn contains: adapters send all quotes of a thread every time.

    The last quote is the message above the question, or the one to which it replies. It is sent
    again, unless the last quote of the thread so far is the same.
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
