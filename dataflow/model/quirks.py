"""What one endpoint refuses, learned from its complaints.

Pure. A lesson is kept only once a request that follows it was accepted, because a complaint may
merely repeat what somebody wrote.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from dataflow.model.complaint import Complaint
from dataflow.model.overflow import window_in
from dataflow.model.refusals import LIMIT_FIELDS, about_roles, limit_in, names
from dataflow.tokens import FIRST_RATIO
from dataflow.truncation import STEP_SHARE, ChatMessage

REQUIRED: Final = frozenset({"model", "messages"})
MARK_FIELD: Final = "prompt_cache_breakpoint"
"""A field of parts of messages, not of the request itself."""

SMALLEST_ANSWER_TOKENS: Final = 16
ANSWER_SHARE: Final = 4
"""At most a quarter of a learned window is for the answer."""


@dataclass(frozen=True, slots=True)
class Quirks:
    """The known quirks of one endpoint and model.

    `room_tokens` is the estimated size of messages that fit. `guessed`: no complaint mentioned it.
    """

    without: frozenset[str] = frozenset()
    answer_tokens: int | None = None
    room_tokens: int | None = None
    guessed: bool = False
    system_in_user: bool = False


def lesson(quirks: Quirks, complaint: Complaint, body: Mapping[str, Any]) -> Quirks | None:
    """The lesson of a complaint that names something; None if it is not new."""
    for field in _optional(body):
        if names(complaint, field) and (learned := _without(quirks, field, complaint, body)):
            return learned
    if about_roles(complaint) and not quirks.system_in_user and _has_system(body):
        return replace(quirks, system_in_user=True)
    return None


def smaller(quirks: Quirks, body: Mapping[str, Any], *, before: Quirks) -> Quirks | None:
    """The next form to try after a complaint that names nothing; None if there is no other.

    These are the smallest request, one that is not streamed, and one without the system role.
    `before` is what was known before this question.
    """
    optional = frozenset(_optional(body)) - {"stream"}
    if optional:
        return replace(quirks, without=quirks.without | optional | {*LIMIT_FIELDS})
    if "stream" in body:
        return replace(quirks, without=quirks.without | {"stream"})
    if not quirks.system_in_user and _has_system(body):
        return replace(before, system_in_user=True)  # none of the fields was at fault
    return None


def shorter(
    quirks: Quirks, complaint: Complaint | None, *, sent_tokens: int, answer_tokens: int
) -> Quirks:
    """The lesson of an overflow: the window that it mentions, or else half of what was sent."""
    window = window_in(complaint) if complaint is not None else None
    if window is None:
        allowed = complaint and limit_in(complaint, answer_tokens, SMALLEST_ANSWER_TOKENS)
        if allowed:
            return replace(quirks, answer_tokens=allowed)
        return replace(quirks, room_tokens=sent_tokens // 2, guessed=True)
    answer = max(min(answer_tokens, window // ANSWER_SHARE), SMALLEST_ANSWER_TOKENS)
    room = int((window - answer) / FIRST_RATIO)
    if room >= sent_tokens and answer == answer_tokens:
        room = sent_tokens // 2  # the estimate is wrong for this text
    return replace(quirks, room_tokens=room, answer_tokens=answer, guessed=False)


def confirmed(quirks: Quirks, sent_tokens: int) -> Quirks:
    """The lesson of an accepted request of this size.

    A guessed room becomes the size that is known to fit, but shrinks by one step at most: a single
    large turn may have made the request much smaller.
    """
    if not quirks.guessed or quirks.room_tokens is None:
        return quirks
    room = max(sent_tokens, int(quirks.room_tokens * (1 - STEP_SHARE)))
    return replace(quirks, room_tokens=room, guessed=False)


def _optional(body: Mapping[str, Any]) -> list[str]:
    """The fields that can be left out, the least important first."""
    fields = [field for field in body if field not in REQUIRED]
    fields.sort(key=lambda field: (field == "stream", field in LIMIT_FIELDS))
    marked = any(
        MARK_FIELD in part
        for message in body["messages"]
        if isinstance(message["content"], list)
        for part in message["content"]
    )
    return [MARK_FIELD, *fields] if marked else fields


def _without(
    quirks: Quirks, field: str, complaint: Complaint, body: Mapping[str, Any]
) -> Quirks | None:
    if field in LIMIT_FIELDS:
        allowed = limit_in(complaint, body[field], SMALLEST_ANSWER_TOKENS)
        if allowed is not None:
            return replace(quirks, answer_tokens=allowed)
    if field in quirks.without:
        return None
    return replace(quirks, without=quirks.without | {field})


def _has_system(body: Mapping[str, Any]) -> bool:
    return any(message["role"] == "system" for message in body["messages"])


def without_system(messages: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
    """The messages with the system message in the first question, and with alternating roles."""
    merged: list[ChatMessage] = []
    for message in messages:
        role = "assistant" if message["role"] == "assistant" else "user"
        if merged and merged[-1]["role"] == role:
            content = _joined(merged[-1]["content"], message["content"])
            merged[-1] = {**merged[-1], "content": content}
        else:
            merged.append({**message, "role": role})
    return tuple(merged)


def _joined(first: Any, second: Any) -> Any:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    parts = [
        [{"type": "text", "text": content}] if isinstance(content, str) else content
        for content in (first, second)
    ]
    return [*parts[0], *parts[1]]
