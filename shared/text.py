"""Text that UTF-8 can carry, whoever wrote it.

Pure. JSON can hold half of a surrogate pair, and so can a Python string; no file, socket or
database takes one. It must never change a text that is well formed.
"""

import re
from functools import lru_cache
from typing import Annotated, Final

from pydantic import BeforeValidator

BROKEN_KEPT: Final = 8
"""Broken texts whose repair is remembered: readers of a message look at each of its texts several
times, and 40,000 lone halves take 10 ms each time."""

_LONE: Final = re.compile(r"[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]")
_LONE_RUN: Final = re.compile(
    r"[\ud800-\udbff]{8,}(?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]{8,}"
)
_HIGH_AT_END: Final = re.compile(r"[\ud800-\udbff]\Z")


def repaired(text: str) -> str:
    """The same text with split surrogate pairs joined and lone halves replaced by U+FFFD."""
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
        # A codec's own replacement takes 1 µs for each lone half, in texts that hold nothing else.
        # So does a match, and therefore long runs are matched as a whole.
        shorter = _LONE_RUN.sub(lambda run: "\ufffd" * len(run[0]), text)
        paired = _LONE.sub("\ufffd", shorter)
        return paired.encode("utf-16-le", "surrogatepass").decode("utf-16-le")


def _repaired_if_text(value: object) -> object:
    # Most texts are ASCII, and each message has several.
    return repaired(value) if isinstance(value, str) and not value.isascii() else value


Text = Annotated[str, BeforeValidator(_repaired_if_text)]
"""A pydantic field for text from outside: repaired before it is validated."""


class Joining:
    """Repairs a text that arrives in pieces: half a pair at the end of one waits for the next."""

    def __init__(self) -> None:
        self._half = ""

    def add(self, piece: str) -> str:
        """The text that is complete with this piece."""
        text = self._half + piece
        if text.isascii():
            return text  # the common case, for each piece of each answer
        match = _HIGH_AT_END.search(text)
        self._half = match[0] if match else ""
        return repaired(text[: match.start()] if match else text)

    def end(self) -> str:
        """U+FFFD if the text ended with half a pair, else nothing."""
        half, self._half = self._half, ""
        return repaired(half)
