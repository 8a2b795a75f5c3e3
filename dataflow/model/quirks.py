"""What one endpoint does not take, as its complaints teach it.

Pure. A lesson counts for good only once a request that follows it was accepted: a complaint may
only repeat what somebody wrote.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from dataflow.model.complaint import Complaint
from dataflow.model.overflow import window_in
from dataflow.shorten import STEP_SHARE, ChatMessage
from dataflow.window import FIRST_RATIO

LIMIT_FIELDS: Final = ("max_tokens", "max_completion_tokens")
REQUIRED: Final = frozenset({"model", "messages"})
MARK_FIELD: Final = "prompt_cache_breakpoint"
"""On parts of messages, and not a field of the request itself."""

SMALLEST_ANSWER_TOKENS: Final = 16
ANSWER_SHARE: Final = 4
"""At most a quarter of a learned window is for the answer."""


@dataclass(frozen=True, slots=True)
class Quirks:
    """What is known of one endpoint and model.

    `room_tokens` is the estimated size of the messages that still fit; `guessed` if no complaint
    mentioned it.
    """

    without: frozenset[str] = frozenset()
    answer_tokens: int | None = None
    room_tokens: int | None = None
    guessed: bool = False
    system_in_user: bool = False


_SYSTEM_ROLE: Final = re.compile(
    r"system (?:role|message|prompt|instruction)s?\b[^.\n]{0,40}"
    r"(?:not (?:supported|allowed|enabled)|unsupported|must be)"
    r"|(?:not|n't) support[^.\n]{0,30} system|developer instruction is not enabled"
    r"|roles? must alternate|alternat(?:e|ing)[^.\n]{0,20} user"
    r"|only user and assistant roles|first (?:message|role) must be[^.\n]{0,20}user"
    r"|(?:invalid|unknown|unexpected|unsupported)[^.\n]{0,30} role[^.\n]{0,20}system"
    r"|role[^.\n]{0,40}'?system'?[^.\n]{0,30}(?:not|invalid|unsupported)"
)
_BLIND: Final = re.compile(
    r"(?:not|n't|no)\b[^.\n]{0,60}(?:image|vision|multimodal|multi-modal)"
    r"|(?:image|vision|multimodal)[^.\n]{0,40}(?:not|unsupported|only supported)"
    r"|unknown variant `?image_url|mmproj"
)
_ABOUT_ONE_PICTURE: Final = re.compile(
    r"format|size|large|small|corrupt|decode|download|base64|dimension|pixel|invalid image"
)
_REFUSES: Final = re.compile(
    r"unsupported|unrecogni[sz]ed|unknown|unexpected|extra (?:inputs?|fields?)|extra_forbidden"
    r"|not (?:supported|permit|allowed|recogni[sz]ed)|n't support|additional propert|deprecated"
)
_STREAM: Final = re.compile(
    r"verified to stream|stream(?:ing)? (?:is |mode is )?(?:not |un)(?:supported|allowed|available)"
    r"|not support stream"
)
_NAME_ENDS: Final = re.compile(r"[^\w]+")
_NUMBER: Final = re.compile(r"\d[\d,_]{1,9}")
_ABOUT_VALUE: Final = re.compile(
    r"too (?:large|high|big|small)|at most|maximum|must be|range|exceed|greater|larger|less than|>"
)


def lesson(quirks: Quirks, complaint: Complaint, body: Mapping[str, Any]) -> Quirks | None:
    """What to know in order to ask again; None if the complaint teaches nothing new."""
    if _may_be_about_a_field(complaint):
        named = [field for field in _optional(body) if _is_named(field, complaint)]
        if named:
            return _without(quirks, named[0], complaint, body)
    if not quirks.system_in_user and _has_system(body) and _SYSTEM_ROLE.search(complaint.text):
        return replace(quirks, system_in_user=True)
    if complaint.is_refusal and (_REFUSES.search(complaint.text) or complaint.status == 422):  # noqa: PLR2004
        # It does not say which field: the smallest request that there is.
        plain = quirks.without | frozenset(_optional(body)) - {"stream"} | {*LIMIT_FIELDS}
        if plain != quirks.without and _optional(body):
            return replace(quirks, without=plain)
    return None


def is_blind(complaint: Complaint) -> bool:
    """Whether the model takes no pictures at all, rather than not this one."""
    return bool(_BLIND.search(complaint.text)) and not _ABOUT_ONE_PICTURE.search(complaint.text)


def shorter(
    quirks: Quirks, complaint: Complaint | None, *, sent_tokens: int, answer_tokens: int
) -> Quirks:
    """What an overflow teaches: the window that it mentions, else half of what was sent."""
    window = window_in(complaint) if complaint is not None else None
    if window is None:
        return replace(quirks, room_tokens=sent_tokens // 2, guessed=True)
    answer = max(min(answer_tokens, window // ANSWER_SHARE), SMALLEST_ANSWER_TOKENS)
    room = int((window - answer) / FIRST_RATIO)
    if room >= sent_tokens and answer == answer_tokens:
        room = sent_tokens // 2  # the estimate is wrong for this text
    return replace(quirks, room_tokens=room, answer_tokens=answer, guessed=False)


def confirmed(quirks: Quirks, sent_tokens: int) -> Quirks:
    """What a request of that size teaches which was accepted.

    A guess becomes what is known to fit, unless a single large turn made that much smaller.
    """
    if not quirks.guessed or quirks.room_tokens is None:
        return quirks
    room = max(sent_tokens, int(quirks.room_tokens * (1 - STEP_SHARE)))
    return replace(quirks, room_tokens=room, guessed=False)


def _may_be_about_a_field(complaint: Complaint) -> bool:
    if complaint.is_refusal:
        return True
    # Simple servers fail on fields that they do not know.
    return complaint.status in {404, 500} and bool(_REFUSES.search(complaint.text))


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


def _is_named(field: str, complaint: Complaint) -> bool:
    if any(field in _NAME_ENDS.split(name) for name in complaint.fields):
        return True
    if field == "stream":
        return bool(_STREAM.search(complaint.text))
    pattern = rf"(?<![\w]){field.replace('_', '[_ ]')}(?![\w])"
    return bool(re.search(pattern, complaint.text))


def _without(
    quirks: Quirks, field: str, complaint: Complaint, body: Mapping[str, Any]
) -> Quirks | None:
    if field in LIMIT_FIELDS and _ABOUT_VALUE.search(complaint.text):
        sent = body[field]
        numbers = [int(re.sub(r"\D", "", number)) for number in _NUMBER.findall(complaint.text)]
        allowed = [number for number in numbers if SMALLEST_ANSWER_TOKENS <= number < sent]
        if allowed:
            return replace(quirks, answer_tokens=max(allowed))
    if field in quirks.without:
        return None
    return replace(quirks, without=quirks.without | {field})


def _has_system(body: Mapping[str, Any]) -> bool:
    return any(message["role"] == "system" for message in body["messages"])


def without_system(messages: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
    """The messages with the system message in the first user message, and roles that alternate."""
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
