"""Turns an answer into the parts that a platform shows: prepared, split, limited in number.

It must never hold up the event loop: a long text is worked on in a thread. It must never give more
parts than the platform allows, nor leave out text without saying so.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol, TypeVar

from bots.split_text import Length, pieces

INLINE_CHARS: Final = 1_000
"""Up to this length a text is worked on at once; longer ones could hold up the loop for too long.
docs/architecture.md has the measurement."""

READ_FACTOR: Final = 2
"""How many times the characters that can be shown are read. A prepared text may be shorter than the
answer, but reading all of a long one for its beginning would be wasted work."""

NOT_SHOWN: Final = (
    "({:,} more characters of this answer are not shown here. "
    "Ask for a shorter answer, or for the missing part.)"
)
NOT_SHOWN_BRIEF: Final = "({:,} more characters are not shown.)"

_WORKER: Final = ThreadPoolExecutor(1, thread_name_prefix="parts")
"""One thread: the loop then waits for the interpreter lock behind at most one other thread."""


_Result = TypeVar("_Result")


class Splitting(Protocol):
    """What this module needs of a platform; `Preparing` is asked for as well."""

    @property
    def text_limit_chars(self) -> int:
        """A part's limit, in the platform's unit."""

    @property
    def parts_limit(self) -> int:
        """Parts of one answer at most."""

    @property
    def text_length(self) -> Length:
        """A text's length in the unit of the limit."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A `Splitting` on its own, for the parts of a platform that need no more of it."""

    text_limit_chars: int
    parts_limit: int
    text_length: Length
    prepared: Callable[[str], str]


async def parts_of(platform: Splitting, text: str) -> list[str]:
    """An answer's parts, the same for the same text; none for a blank one.

    If they would be more than the platform allows, the last one ends with a notice of how much is
    missing.
    """
    return await _off_the_loop(len(text), lambda: _limited(platform, text))


async def first_part_of(platform: Splitting, text: str, *, room: int) -> str:
    """A growing answer's first part of at most `room`, empty for a blank text.

    It reads only the beginning of the text, so that each of many previews costs the same.
    """
    beginning = text[: READ_FACTOR * room]

    def first() -> str:
        found = pieces(_prepared(platform, beginning), room, length=platform.text_length)
        return next((piece.text for piece in found), "")

    return await _off_the_loop(len(beginning), first)


async def _off_the_loop(chars: int, work: Callable[[], _Result]) -> _Result:
    if chars <= INLINE_CHARS:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_WORKER, work)


def _prepared(platform: Splitting, text: str) -> str:
    # Not `isinstance`: a protocol is compared member by member, which takes as long as the rest.
    prepare: Callable[[str], str] | None = getattr(platform, "prepared", None)
    return text if prepare is None else prepare(text)


def _limited(platform: Splitting, text: str) -> list[str]:
    limit, most, length = platform.text_limit_chars, platform.parts_limit, platform.text_length
    most_read = READ_FACTOR * most * limit
    if not text[:most_read].strip():
        text = text.lstrip()
    beginning = text[:most_read]
    rest = text[most_read:]
    missing = len(rest) if rest.strip() else 0  # nobody misses blank lines
    shown = _prepared(platform, beginning)
    if not shown.strip():
        shown = beginning  # `<br>` alone: an answer that is not blank must not vanish
    found = list(islice(pieces(shown, limit, length=length), most + 1))
    parts = [piece.text for piece in found[:most]]
    if len(found) > most:
        missing += len(shown) - found[most - 1].end
    if missing and parts:
        parts[-1] = _with_notice(parts[-1], missing, limit, length)
    return parts


def _with_notice(part: str, missing: int, limit: int, length: Length) -> str:
    """The part, cut to leave room for a notice of the `missing` characters and of those cut."""
    most = len(part) + missing
    wanted = (f"\n\n{notice}" for notice in (NOT_SHOWN, NOT_SHOWN_BRIEF))
    notice = next((n for n in wanted if 2 * length(n.format(most)) <= limit), "…")
    room = max(1, limit - length(notice.format(most)))
    kept = next(pieces(part, room, length=length))
    return kept.text + notice.format(missing + len(part) - kept.end)
