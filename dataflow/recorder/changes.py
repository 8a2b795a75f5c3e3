"""What one stored message changes in the database.

Pure. A message that cannot be read changes nothing: it must never keep later ones from being
recorded. It must never be recorded under another user than the one of its subject.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from shared import names, user_names
from shared.event_parsing import Unreadable, event_of
from shared.messages import (
    TRAINING,
    Again,
    AnyEvent,
    Ask,
    Configure,
    Deleted,
    Edited,
    Forget,
    Linked,
    Place,
    Rate,
    Reset,
    Stop,
    Unlinked,
)
from shared.prices import Price, cost_microdollars
from shared.receipts import shown_part
from shared.replies import Reply, Usage

LARGEST_COUNT: Final = 2**63 - 1
"""Token counts come from endpoints; the columns have 64 bits."""

_Happening = Stop | Reset | Rate | Edited | Deleted | Forget | Configure | Linked | Unlinked

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """A message of a stream, with its sequence there and the time when it was stored."""

    stream: str
    subject: str
    data: bytes
    sequence: int
    stored_at: datetime
    stream_created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A question: a row of `questions`."""

    row: Row


@dataclass(frozen=True, slots=True)
class Answered:
    """A reply: a row of `answers`, and one of `background_usage` per call that it reports."""

    row: Row
    background: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class Happened:
    """What somebody did besides asking: a row of `events`."""

    row: Row


@dataclass(frozen=True, slots=True)
class Rated:
    """A rating: a row of `ratings`, which is deleted if its `thumb` is "none"."""

    row: Row


@dataclass(frozen=True, slots=True)
class Shown:
    """People can see the whole answer."""

    platform: str
    prompt_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Decided:
    """Whether training on this person's words is allowed."""

    user: str
    training_allowed: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Everything that was stored about this user before `at` is to be erased."""

    user: str
    at: datetime


Change = Asked | Answered | Happened | Rated | Shown | Decided | Forgotten


def changes_of(stored: Stored, prices: Mapping[str, Price]) -> list[Change]:
    """What a message changes, in order.

    Raises:
        Unreadable: it cannot be recorded.
    """
    try:
        if stored.stream == names.PROMPTS:
            user = names.user_of_stored(stored.subject)
            return list(_of_event(event_of(stored.data, user), stored.stored_at))
        if stored.stream == names.REPLIES:
            return [_answered(_reply(stored), stored.stored_at, prices)]
    except user_names.BadName as error:
        raise Unreadable(str(error)) from None
    return _of_receipt(stored)


def _of_receipt(stored: Stored) -> list[Change]:
    if not shown_part(stored.data):
        return []
    platform, prompt_id = names.prompt_of_receipt(stored.subject)
    return [Shown(platform, prompt_id, stored.stored_at)]


def _reply(stored: Stored) -> Reply:
    try:
        reply = Reply.model_validate_json(stored.data)
    except ValidationError as error:
        raise Unreadable(f"not a reply: {error.error_count()} fields are wrong") from None
    if names.reply_subject(reply.user, reply.prompt_id) != stored.subject:
        raise Unreadable("the reply names another user or question than its subject")
    return reply


def _of_event(event: AnyEvent, stored_at: datetime) -> Iterator[Change]:
    match event:
        case Ask():
            yield Asked(_question(event, stored_at))
        case Again():
            yield Asked(_question_again(event, None, stored_at))
        case Edited():
            text = _clean(event.text)
            yield Happened(_event(event, stored_at, event.prompt_id, text))
            if event.ask_again:
                yield Asked(_question_again(event, text, stored_at))
        case Rate():
            yield Happened(_event(event, stored_at, event.prompt_id))
            yield Rated(_rating(event, stored_at))
        case Configure():
            yield from _of_configure(event, stored_at)
        case Forget():
            # First, because it erases earlier events, not itself.
            yield Forgotten(event.user, stored_at)
            yield Happened(_event(event, stored_at))
        case Deleted() | Stop():
            yield Happened(_event(event, stored_at, event.prompt_id))
        case Reset() | Linked() | Unlinked():
            # Without the accounts: those of a person who is forgotten would stay with the others.
            yield Happened(_event(event, stored_at))


def _of_configure(event: Configure, stored_at: datetime) -> Iterator[Change]:
    settings = "\n".join(f"{name}={value}" for name, value in sorted(event.settings.items()))
    yield Happened(_event(event, stored_at, None, _clean(settings)))
    if (decision := event.settings.get(TRAINING)) in {"yes", "no"}:
        yield Decided(event.user, decision == "yes", stored_at)


def _question(ask: Ask, stored_at: datetime) -> Row:
    attachments = [
        {"name": _clean(file.name), "media_type": _clean(file.media_type)}
        for file in ask.attachments
    ]
    quotes = [{"author": _clean(quote.author), "text": _clean(quote.text)} for quote in ask.quotes]
    return {
        "prompt_id": ask.id, "user_id": ask.user, **_place(ask.place), "kind": "ask",
        "text": _clean(ask.text), "attachments": attachments or None, "quotes": quotes or None,
        "persona": ask.persona and _clean(ask.persona), "model": ask.model and _clean(ask.model),
        "replaces": None, "said_at": ask.said_at, "stored_at": stored_at,
    }  # fmt: skip


def _question_again(event: Again | Edited, text: str | None, stored_at: datetime) -> Row:
    return {
        "prompt_id": event.id, "user_id": event.user, **_place(event.place), "kind": event.kind,
        "text": text, "attachments": None, "quotes": None, "persona": None, "model": None,
        "replaces": event.prompt_id, "said_at": event.said_at, "stored_at": stored_at,
    }  # fmt: skip


def _event(
    event: _Happening, stored_at: datetime, prompt_id: str | None = None, text: str | None = None
) -> Row:
    return {
        "id": event.id, "user_id": event.user, "kind": event.kind,
        "prompt_id": prompt_id, **_place(event.place), "text": text, "said_at": event.said_at,
        "stored_at": stored_at,
    }  # fmt: skip


def _rating(rate: Rate, stored_at: datetime) -> Row:
    return {
        "prompt_id": rate.prompt_id, "user_id": rate.user, "thumb": rate.thumb,
        "reason": _clean(rate.reason) or None, "correction": _clean(rate.correction) or None,
        "rated_at": stored_at,
    }  # fmt: skip


def _answered(reply: Reply, stored_at: datetime, prices: Mapping[str, Price]) -> Answered:
    background = tuple(
        {
            "prompt_id": reply.prompt_id, "number": number, "user_id": reply.user,
            "kind": _clean(call.kind), "model": _clean(call.model),
            **_used(call.model, call.usage, prices),
            "said_at": reply.said_at, "journaled_at": stored_at,
        }
        for number, call in enumerate(reply.background)
    )  # fmt: skip
    return Answered(_answer(reply, stored_at, prices), background)


def _answer(reply: Reply, stored_at: datetime, prices: Mapping[str, Price]) -> Row:
    timings = reply.timings
    return {
        "prompt_id": reply.prompt_id, "user_id": reply.user, "outcome": reply.outcome,
        "text": _clean(reply.text), "prompt_text": _clean(reply.prompt_text),
        "model": _clean(reply.model), **_used(reply.model, reply.usage, prices),
        "said_at": reply.said_at,
        "called_at": timings and timings.called_at,
        "first_token_at": timings and timings.first_token_at,
        "answered_at": reply.answered_at, "journaled_at": stored_at,
        "experiment": _clean(reply.experiment) or None,
    }  # fmt: skip


def _used(model: str, usage: Usage | None, prices: Mapping[str, Price]) -> Row:
    return {
        "prompt_tokens": None if usage is None else _count(usage.prompt_tokens),
        "completion_tokens": None if usage is None else _count(usage.completion_tokens),
        "cached_tokens": None if usage is None else _count(usage.cached_tokens),
        "reasoning_tokens": None if usage is None else _count(usage.reasoning_tokens),
        "cost_microdollars": _count(cost_microdollars(model, usage, prices)),
    }


def _count(count: int | None) -> int | None:
    return None if count is None else max(0, min(count, LARGEST_COUNT))


def _place(place: Place) -> Row:
    return {
        "platform": _clean(place.platform), "space": _clean(place.space),
        "channel": _clean(place.channel), "thread": _clean(place.thread),
        "audience": place.audience, "alone": place.alone,
    }  # fmt: skip


def _clean(text: str) -> str:
    """PostgreSQL stores every character but NUL, and no half of a surrogate pair."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
