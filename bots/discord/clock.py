"""Discord's time, for everything that is compared with Discord's ids.

An id contains the time at which Discord created it. This machine's clock may be minutes off, so it
is never compared with an id. Pure apart from the clocks passed in.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from discord.utils import DISCORD_EPOCH

_TIME_SHIFT: Final = 22
"""Bits below the milliseconds in an id:
https://docs.discord.com/developers/reference#snowflakes"""


AHEAD_S: Final = 10.0
"""How far an id may be ahead of the last `Date` header, which has whole seconds and arrives
late. An id further ahead was not created now."""


class DiscordClock:
    """Discord's time by the last `Date` header, and never before the newest id seen."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        local: Callable[[], float] = time.time,
    ) -> None:
        self._monotonic = monotonic
        self._local = local
        self._date: str | None = None
        self._by_date: float | None = None
        self._by_id: float | None = None

    def saw_date(self, header: str | None) -> None:
        """Take the `Date` header of a response that has just arrived."""
        if header == self._date:
            return  # the first response of a second tells the time best
        try:
            then = parsedate_to_datetime(header or "")
        except ValueError:
            return
        self._date = header
        self._by_date = then.replace(tzinfo=then.tzinfo or UTC).timestamp() - self._monotonic()

    def saw_id(self, snowflake: int) -> None:
        """Take an id that Discord has created; ids from the future are ignored."""
        offset = seconds_of(snowflake) - self._monotonic()
        dated = self._by_date
        if offset > (self._local() - self._monotonic() if dated is None else dated) + AHEAD_S:
            return
        self._by_id = offset if self._by_id is None else max(self._by_id, offset)

    def now(self) -> float:
        """Seconds since 1970, at most about a second and a round trip behind Discord's clock.

        Falls back to this machine's clock before the first response from Discord.
        """
        known = [offset for offset in (self._by_date, self._by_id) if offset is not None]
        return max(known) + self._monotonic() if known else self._local()

    def utcnow(self) -> datetime:
        """The same as a datetime."""
        return datetime.fromtimestamp(self.now(), UTC)

    def newest(self) -> int:
        """An upper bound for the ids of all messages until now."""
        return snowflake_at(self.now() + 1.0)

    def age_s(self, snowflake: int) -> float:
        """Seconds since Discord created an id."""
        return self.now() - seconds_of(snowflake)


def seconds_of(snowflake: int) -> float:
    """The creation time in an id, in seconds since 1970."""
    return ((snowflake >> _TIME_SHIFT) + DISCORD_EPOCH) / 1000


def snowflake_at(seconds: float) -> int:
    """The lowest id that can be created at this time; 0 for times before Discord."""
    return max(0, int(seconds * 1000) - DISCORD_EPOCH) << _TIME_SHIFT
