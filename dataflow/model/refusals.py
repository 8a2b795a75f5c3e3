"""What a complaint is about: a field, the roles, pictures, or something that it does not name.

Pure. These are guesses from words that every endpoint chooses itself: `dataflow.model.quirks` acts
on them, and believes a guess only once a request that follows it was accepted.
"""

import re
from typing import Final

from dataflow.model.complaint import Complaint

LIMIT_FIELDS: Final = ("max_tokens", "max_completion_tokens")

_LIMIT_NAMES: Final = ("max_output_tokens", "max_new_tokens", "maximum_tokens")
_OTHER_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "max_tokens": _LIMIT_NAMES,
    "max_completion_tokens": _LIMIT_NAMES,
    "reasoning_effort": ("reasoning", "thinking"),
    "stream_options": ("include_usage",),
}
"""What servers call a field, apart from its name: those that translate it to an API of their own
complain in the terms of that one."""

_REFUSES: Final = re.compile(
    r"unsupported|unrecogni[sz]ed|unknown|unexpected|extra (?:inputs?|fields?)|extra_forbidden"
    r"|not (?:supported|permit|allowed|implemented|recogni[sz]ed)|n't support|not support"
    r"|additional propert|deprecated"
)
_STREAM: Final = re.compile(
    r"verified to stream|stream(?:ing)? (?:is |mode is )?(?:not |un)(?:supported|allowed|available)"
    r"|not support stream|stream['\"`]? (?:must be false|does not support)"
)
_ROLES: Final = re.compile(
    r"\broles?\b|system (?:message|prompt|instruction)s?\b|developer instruction"
    r"|(?:start|begin)s? with (?:a |an )?['\"`]?(?:user|human)|variant ['\"`]?system"
    r"|['\"`]system['\"`] is not"
)
_TEMPLATE_ROLES: Final = re.compile(
    r"system (?:role|message|prompt)s?\b[^.\n]{0,40}(?:not|unsupported|must)"
    r"|not support[^.\n]{0,30} system|roles? (?:must|should) alternate"
    r"|(?:start|begin)s? with (?:a |an )?['\"`]?user|roles are supported"
)
"""Narrower, for a server that answers 500 when a chat template raises."""

_BLIND: Final = re.compile(
    r"(?:not|n't|no)\b[^.\n]{0,60}(?:image|vision|multimodal|multi-modal)"
    r"|(?:image|vision|multimodal)[^.\n]{0,40}(?:not|unsupported|only supported)"
    r"|unknown variant `?image_url|mmproj"
)
_ABOUT_ONE_PICTURE: Final = re.compile(
    r"format|size|large|small|corrupt|decode|download|base64|dimension|pixel|invalid image"
)
_ABOUT_CONTENT: Final = re.compile(
    r"content[ _-]?(?:policy|policies|filter|management|inspection)|moderat|flagged|safety|harm"
    r"|inappropriate|sensitive|violat"
)
_ABOUT_VALUE: Final = re.compile(
    r"too (?:large|high|big|small)|at most|maximum|must be|range|exceed|greater|larger"
    r"|(?:less|lower) than|>"
)
_NUMBER: Final = re.compile(r"\d[\d,_]{1,9}")
_WORDS: Final = re.compile(r"\W+")

UNPROCESSABLE: Final = 422


def names(complaint: Complaint, field: str) -> bool:
    """Whether the complaint is about this field of the request."""
    if not complaint.is_refusal and not _may_name(complaint, field):
        return False
    if any(field in _WORDS.split(name) for name in complaint.fields):
        return True
    if field == "stream":
        return bool(_STREAM.search(complaint.text))
    return any(_has_name(complaint.text, name) for name in (field, *_OTHER_NAMES.get(field, ())))


def _may_name(complaint: Complaint, field: str) -> bool:
    """Whether a status that usually means something else can still be a refusal of a field."""
    if not complaint.may_be_refusal:
        return False
    # Simple servers fail on fields that they do not know, and say little more than the name.
    is_crash = complaint.status == 500 and "_" in field  # noqa: PLR2004
    return is_crash or bool(_REFUSES.search(complaint.text))


def _has_name(text: str, name: str) -> bool:
    """Whether a text has a name as snake_case, camelCase, or in words."""
    return bool(re.search(rf"(?<![a-z0-9]){name.replace('_', '[_ -]?')}(?![a-z0-9])", text))


def limit_in(complaint: Complaint, sent: int, smallest: int) -> int | None:
    """The longest answer that is allowed, if the complaint is about that and mentions it."""
    if not _ABOUT_VALUE.search(complaint.text):
        return None
    if not any(_has_name(complaint.text, name) for name in (*LIMIT_FIELDS, *_LIMIT_NAMES)):
        return None
    numbers = [int(re.sub(r"\D", "", number)) for number in _NUMBER.findall(complaint.text)]
    return max((number for number in numbers if smallest <= number < sent), default=None)


def about_roles(complaint: Complaint) -> bool:
    """Whether the complaint is about the roles of the messages or their order."""
    if complaint.is_refusal:
        in_field = any("role" in _WORDS.split(name) for name in complaint.fields)
        return in_field or bool(_ROLES.search(complaint.text))
    return complaint.may_be_refusal and bool(_TEMPLATE_ROLES.search(complaint.text))


def says_nothing(complaint: Complaint) -> bool:
    """Whether it is a refusal that gives no reason, or one that nobody here understands."""
    return complaint.is_refusal and not is_about_content(complaint)


def is_about_content(complaint: Complaint) -> bool:
    """Whether what was said is not allowed there."""
    return bool(_ABOUT_CONTENT.search(" ".join((complaint.text, *complaint.codes))))


def is_about_the_form(complaint: Complaint) -> bool:
    """Whether a refusal is about the form of the request, and not about what was said."""
    return complaint.status == UNPROCESSABLE or bool(_REFUSES.search(complaint.text))


def is_blind(complaint: Complaint) -> bool:
    """Whether the model takes no pictures at all, rather than not this one."""
    return bool(_BLIND.search(complaint.text)) and not _ABOUT_ONE_PICTURE.search(complaint.text)
