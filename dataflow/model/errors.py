"""How a model call can fail, in the terms of what is done next, and in plain words for a person.

Pure. No word of an exception's own text is ever shown.
"""

import random
import re
from collections.abc import Generator
from typing import Any, Final, Literal

RETRY_FIRST_S: Final = 0.5
RETRY_LAST_S: Final = 8.0
RETRY_AFTER_LIMIT_S: Final = 60.0

Why = Literal[
    "unreachable", "stalled", "overloaded", "error", "cut", "corrupt",
    "bad key", "quota", "no model", "too long", "refused", "empty", "no pictures",
    "too large", "many pictures",
]  # fmt: skip

NOTICES: Final[dict[Why, str]] = {
    "unreachable": "I cannot reach my language model at the moment. Please try again later.",
    "stalled": "My language model stopped responding. Please try again.",
    "overloaded": "My language model is overloaded at the moment. Please try again later.",
    "error": "My language model had an internal error. Please try again later.",
    "cut": "The answer broke off on its way. Please ask again.",
    "corrupt": "The answer arrived damaged. Please ask again.",
    "bad key": "I may not use my language model: its key was refused. Please tell who runs this "
    "bot: OPENAI_API_KEY has to be set anew.",
    "quota": "The budget for my language model is used up. Please tell who runs this bot.",
    "no model": "My language model does not exist at its provider. Please tell who runs this bot: "
    "THREADWAX_MODEL has to be set to one that does.",
    "too long": "This conversation is longer than my language model can read. "
    "Please shorten your message or start afresh with /reset.",
    "refused": "My language model refused this message.",
    "no pictures": "My language model cannot look at pictures. Please describe it in words.",
    "too large": "Your pictures are more than my language model takes at once. "
    "Please send fewer or smaller ones.",
    "many pictures": "Too many people are showing me pictures at the moment. "
    "Please ask again in a few minutes.",
    "empty": "My language model gave an empty answer. Please ask again.",
}
"""What a person reads for each way in which a call can fail."""

TRANSIENT: Final[frozenset[Why]] = frozenset(
    {"unreachable", "stalled", "overloaded", "error", "cut", "corrupt"}
)


_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def safe_code(value: object) -> str:
    """A code of the endpoint's as it may be logged: nothing that could be a person's words."""
    return text if _CODE.fullmatch(text := str(value)) else "(no code)"


class ModelError(Exception):
    """A call that failed, in the terms of what the caller does next."""

    def __init__(self, why: Why, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(f"{why}: {detail}")
        self.why = why
        self.retry_after_s = retry_after_s

    @property
    def notice(self) -> str:
        """The same in plain words."""
        return NOTICES[self.why]


def waits_s(rng: random.Random) -> Generator[float, Any, None]:
    """Seconds before each retry, in the form `backoff` takes: Retry-After first, else jitter."""
    limit_s, wait_s = RETRY_FIRST_S, 0.0
    while True:
        # No name for what is sent: a generator that holds the error, in whose traceback it stands
        # itself, would keep the whole call until garbage is looked for.
        wait_s = _wait_s((yield wait_s), rng.uniform(0, limit_s))
        limit_s = min(limit_s * 2, RETRY_LAST_S)


def _wait_s(error: Any, otherwise_s: float) -> float:
    told_s = error.retry_after_s if isinstance(error, ModelError) else None
    return otherwise_s if told_s is None else min(told_s, RETRY_AFTER_LIMIT_S)
