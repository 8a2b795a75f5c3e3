"""How a model call can fail: reasons that decide what is done next, and a notice for each.

Pure. It must never show or log the text of an exception.
"""

import re
from typing import Final, Literal

from dataflow.model.complaint import Complaint

Why = Literal[
    "unreachable", "stalled", "overloaded", "error", "cut", "corrupt",
    "bad key", "quota", "no model", "not openai", "too long", "refused", "empty", "thoughts",
    "only thoughts", "tools", "not text", "no pictures", "too large", "many pictures",
]  # fmt: skip

NOTICES: Final[dict[Why, str]] = {
    "unreachable": "I cannot reach my language model at the moment. Please try again later.",
    "stalled": "My language model stopped responding. Please try again.",
    "overloaded": "My language model is overloaded at the moment. Please try again later.",
    "error": "My language model had an internal error. Please try again later.",
    "cut": "The answer was cut off on its way to me. Please ask again.",
    "corrupt": "The answer was damaged on its way to me. Please ask again.",
    "bad key": "My language model refused the key of this bot, so I cannot answer. Please let "
    "whoever runs this bot know: OPENAI_API_KEY has to be replaced.",
    "quota": "The budget for my language model is used up, so I cannot answer. Please let whoever "
    "runs this bot know.",
    "no model": "My language model was not found, so I cannot answer. Please let whoever runs "
    "this bot know: THREADWAX_MODEL has to name a model that exists at the address in "
    "OPENAI_BASE_URL, and that address usually ends in /v1.",
    "not openai": "There is no language model at the address that I was given, so I cannot "
    "answer. Please let whoever runs this bot know: OPENAI_BASE_URL has to be the address of an "
    "OpenAI-compatible endpoint, which usually ends in /v1.",
    "too long": "This conversation is longer than my language model can read. "
    "Please shorten your message or start again with /reset.",
    "refused": "My language model refused this message.",
    "no pictures": "My language model cannot look at pictures. Please describe it in words.",
    "too large": "Your pictures are too large for my language model. "
    "Please send fewer or smaller ones.",
    "many pictures": "Too many people are sending me pictures at the moment. "
    "Please ask again in a few minutes.",
    "empty": "My language model gave an empty answer. Please ask again.",
    "thoughts": "My language model used up its whole answer on thinking, so there is nothing to "
    "show. Please ask for something smaller, or let whoever runs this bot know: a lower "
    "THREADWAX_REASONING_EFFORT or a higher THREADWAX_ANSWER_TOKENS leaves more for the answer.",
    "only thoughts": "My language model thought about this, but gave no answer. Please ask again.",
    "not text": "My language model answered with something that is not text, for example a "
    "picture, and I cannot show that. Please ask it to answer in words.",
    "tools": "My language model wanted to use a tool that I do not have. Please ask it to "
    "answer in words.",
}
"""The notice that people see, by reason."""

TRANSIENT: Final[frozenset[Why]] = frozenset(
    {"unreachable", "stalled", "overloaded", "error", "cut", "corrupt"}
)
"""Reasons after which a retry can help."""

ELSEWHERE: Final[frozenset[Why]] = TRANSIENT | {"bad key", "quota", "no model", "not openai"}
"""Reasons for which another endpoint can help."""

_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def safe_code(value: object) -> str:
    """An endpoint's code for the log, unless it could be part of a person's message."""
    return text if _CODE.fullmatch(text := str(value)) else "(no code)"


class ModelError(Exception):
    """A failed call. `why` decides what the caller does next.

    `complaint` is the reason that the endpoint gave; only `dataflow.model` reads it.
    """

    def __init__(
        self,
        why: Why,
        detail: str,
        *,
        retry_after_s: float | None = None,
        complaint: Complaint | None = None,
    ) -> None:
        super().__init__(f"{why}: {detail}")
        self.why = why
        self.retry_after_s = retry_after_s
        self.complaint = complaint

    @property
    def notice(self) -> str:
        """The notice for people."""
        return NOTICES[self.why]
