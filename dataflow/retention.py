"""Which turns and stored conversations are too old to be kept (THREADWAX_KEEP_DAYS).

Pure: the day is passed in. Days are proleptic ordinals, in UTC.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from dataflow.turn import Turn

_DAY: Final = re.compile(rb'[{,]"day":(\d+)')
"""The quotes of JSON keys: those in people's texts have a backslash before them."""

_HAS_TURNS: Final = b'"turns":[{'


@dataclass(frozen=True, slots=True)
class Kept:
    """The first day that is kept, and the day of today."""

    since: int
    today: int

    @classmethod
    def at(cls, now: datetime, keep_days: int) -> "Kept":
        """What is kept at this time."""
        today = now.astimezone(UTC).toordinal()
        return cls(today - keep_days, today)


def kept_turns(turns: Iterable[Turn], kept: Kept) -> list[Turn]:
    """The turns of days that are kept.

    A turn of an older version has no day. It is as old as the turn after it, or from today if there
    is none, and gets that day.
    """
    found: list[Turn] = []
    day = kept.today
    for turn in reversed(list(turns)):
        day = day if turn.day is None else turn.day
        if day >= kept.since:
            found.append(turn if turn.day is not None else replace(turn, day=day))
    return found[::-1]


def may_have_older(snapshot: bytes, kept: Kept) -> bool:
    """Whether a stored conversation has turns or summaries that are to be dropped, or dated."""
    days = [int(day) for day in _DAY.findall(snapshot)]
    if not days:
        return _HAS_TURNS in snapshot
    return min(days) < kept.since
