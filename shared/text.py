"""Repairs text that UTF-8 cannot encode.

Pure. JSON and Python strings can contain half of a surrogate pair, but files, sockets and databases
cannot. It must never change a well-formed text.
"""

import re
from functools import lru_cache
from typing import Annotated, Final

from pydantic import BeforeValidator

BROKEN_KEPT: Final = 8
"""Repaired texts to cache: each text of a message is read several times, and repairs are slow."""

_LONE: Final = re.compile(r"[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]")
_LONE_RUN: Final = re.compile(
    r"[\ud800-\udbff]{8,}(?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]{8,}"
)
_HIGH_AT_END: Final = re.compile(r"[\ud800-\udbff]\Z")


def repaired(text: str) -> str:
    """The text with split surrogate pairs joined and lone halves replaced by U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return _joined(text)
    return text


@lru_cache(maxsize=BROKEN_KEPT)
def _joined(text: str) -> str:
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        # Long runs of lone halves are replaced as a whole: one by one, each takes 1 µs, as does the
        # codec's own error handler.
        shorter = _LONE_RUN.sub(lambda run: "\ufffd" * len(run[0]), text)
        paired = _LONE.sub("\ufffd", shorter)
        return paired.encode("utf-16-le", "surrogatepass").decode("utf-16-le")


def _repaired_if_text(value: object) -> object:
    # A fast path: most texts are ASCII, and each message has several.
    return repaired(value) if isinstance(value, str) and not value.isascii() else value


Text = Annotated[str, BeforeValidator(_repaired_if_text)]
"""A pydantic field for text from outside, repaired before validation."""


class Joining:
    """Repairs a text that arrives in pieces: half a pair at the end waits for the next piece."""

    def __init__(self) -> None:
        self._half = ""

    def add(self, piece: str) -> str:
        """Adds a piece; returns the text that is now complete."""
        text = self._half + piece
        if text.isascii():
            return text  # the common case
        match = _HIGH_AT_END.search(text)
        self._half = match[0] if match else ""
        return repaired(text[: match.start()] if match else text)

    def end(self) -> str:
        """The rest of the text: U+FFFD if it ended with half a pair, otherwise nothing."""
        half, self._half = self._half, ""
        return repaired(half)
