"""The subject of a complaint: a field, the roles, images, or something that it does not name.

Pure. These are guesses, since every endpoint words its complaints differently. `quirks.py` acts on
them, and keeps a guess only once a request that follows it was accepted.
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
"""Other names of a field, used by servers that translate requests to an API of their own."""

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
"""Narrower than `_ROLES`, for servers that answer 500 when a chat template fails."""

_NO_VISION: Final = re.compile(
    r"(?:not|n't|no)\b[^.\n]{0,60}(?:image|vision|multimodal|multi-modal)"
    r"|(?:image|vision|multimodal)[^.\n]{0,40}(?:not|unsupported|only supported)"
    r"|unknown variant `?image_url|mmproj"
)
_ABOUT_ONE_IMAGE: Final = re.compile(
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
    # Simple servers fail on unknown fields, and report little more than the name.
    is_crash = complaint.status == 500 and "_" in field  # noqa: PLR2004
    return is_crash or bool(_REFUSES.search(complaint.text))


def _has_name(text: str, name: str) -> bool:
    """Whether a text contains a name in snake_case, in camelCase, or as separate words."""
    return bool(re.search(rf"(?<![a-z0-9]){name.replace('_', '[_ -]?')}(?![a-z0-9])", text))


def limit_in(complaint: Complaint, sent: int, smallest: int) -> int | None:
    """The longest answer that is allowed, if the complaint mentions it."""
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
    """Whether it is a refusal without a reason, or with one that is not understood."""
    return complaint.is_refusal and not is_about_content(complaint)


def is_about_content(complaint: Complaint) -> bool:
    """Whether the contents of a message are not allowed."""
    return bool(_ABOUT_CONTENT.search(" ".join((complaint.text, *complaint.codes))))


def is_about_the_form(complaint: Complaint) -> bool:
    """Whether a refusal is about the form of the request rather than the contents."""
    return complaint.status == UNPROCESSABLE or bool(_REFUSES.search(complaint.text))


def has_no_vision(complaint: Complaint) -> bool:
    """Whether the model takes no images at all, rather than not this one."""
    return bool(_NO_VISION.search(complaint.text)) and not _ABOUT_ONE_IMAGE.search(complaint.text)
