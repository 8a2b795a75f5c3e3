"""Turns an answer into the parts that a platform shows: prepared, split, limited in number.

A long text is processed in a thread, so that it never blocks the event loop. There must never be
more parts than the platform allows, and no text may be left out without a notice.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol, TypeVar

from bots.split_text import Length, pieces

INLINE_CHARS: Final = 1_000
"""A longer text is processed in a thread: it could block the loop (docs/architecture.md)."""

READ_FACTOR: Final = 2
"""Characters to read for each one that can be shown: preparing a text may shorten it."""

NOT_SHOWN: Final = (
    "({:,} more characters of this answer are not shown here. "
    "Ask for a shorter answer, or for the missing part.)"
)
NOT_SHOWN_BRIEF: Final = "({:,} more characters are not shown.)"

_WORKER: Final = ThreadPoolExecutor(1, thread_name_prefix="parts")
"""One thread, so that the loop competes with at most one other for the interpreter lock."""


_Result = TypeVar("_Result")


class Splitting(Protocol):
    """What this module needs from a platform; it uses `Preparing`, too, if there is one."""

    @property
    def text_limit_chars(self) -> int:
        """The longest part, in the platform's unit."""

    @property
    def parts_limit(self) -> int:
        """The most parts of one answer."""

    @property
    def text_length(self) -> Length:
        """The length of a text in the unit of the limit."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A `Splitting` without a platform around it."""

    text_limit_chars: int
    parts_limit: int
    text_length: Length
    prepared: Callable[[str], str]


async def parts_of(platform: Splitting, text: str) -> list[str]:
    """The parts of an answer, always the same for the same text; none for a blank text.

    If there are more parts than the platform allows, the last one ends with a notice that says how
    much is missing.
    """
    return await _in_thread_if_long(len(text), lambda: _limited(platform, text))


async def first_part_of(platform: Splitting, text: str, *, room: int) -> str:
    """The first part of a growing answer, at most `room` long; empty for a blank text.

    Reads only the beginning of the text, so that every preview costs the same.
    """
    beginning = text[: READ_FACTOR * room]

    def first() -> str:
        found = pieces(_prepared(platform, beginning), room, length=platform.text_length)
        return next((piece.text for piece in found), "")

    return await _in_thread_if_long(len(beginning), first)


async def _in_thread_if_long(chars: int, work: Callable[[], _Result]) -> _Result:
    if chars <= INLINE_CHARS:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_WORKER, work)


def _prepared(platform: Splitting, text: str) -> str:
    # Not `isinstance`: checking a protocol member by member takes as long as the rest.
    prepare: Callable[[str], str] | None = getattr(platform, "prepared", None)
    return text if prepare is None else prepare(text)


def _limited(platform: Splitting, text: str) -> list[str]:
    limit, most, length = platform.text_limit_chars, platform.parts_limit, platform.text_length
    most_read = READ_FACTOR * most * limit
    if not text[:most_read].strip():
        text = text.lstrip()
    beginning = text[:most_read]
    rest = text[most_read:]
    missing = len(rest) if rest.strip() else 0  # missing blank lines do not matter
    shown = _prepared(platform, beginning)
    if not shown.strip():
        shown = beginning  # `<br>` alone, for example: a text must not vanish
    found = list(islice(pieces(shown, limit, length=length), most + 1))
    parts = [piece.text for piece in found[:most]]
    if len(found) > most:
        missing += len(shown) - found[most - 1].end
    if missing and parts:
        parts[-1] = _with_notice(parts[-1], missing, limit, length)
    return parts


def _with_notice(part: str, missing: int, limit: int, length: Length) -> str:
    """The part, shortened and with a notice of all characters that are missing then."""
    most = len(part) + missing
    wanted = (f"\n\n{notice}" for notice in (NOT_SHOWN, NOT_SHOWN_BRIEF))
    notice = next((n for n in wanted if 2 * length(n.format(most)) <= limit), "…")
    room = max(1, limit - length(notice.format(most)))
    kept = next(pieces(part, room, length=length))
    return kept.text + notice.format(missing + len(part) - kept.end)
