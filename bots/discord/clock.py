"""Discord's own time, for everything that is compared with Discord's ids.

An id holds the time at which Discord made it, so this machine's clock, which may be minutes off, is
never compared with one. Pure but for the monotonic clock that it is given.
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
"""An id may be so far ahead of the last `Date`: a date has whole seconds, and its response took a
while. An id beyond is not one that Discord has made now."""


class DiscordClock:
    """The time by the `Date` of Discord's last response, and never before the newest id seen."""

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
        """Takes the `Date` of a response that has just come."""
        if header == self._date:
            return  # the same second: its first response tells the time best
        try:
            then = parsedate_to_datetime(header or "")
        except ValueError:
            return
        self._date = header
        self._by_date = then.replace(tzinfo=then.tzinfo or UTC).timestamp() - self._monotonic()

    def saw_id(self, snowflake: int) -> None:
        """Takes an id that Discord has made; one of the future says nothing about the time."""
        offset = seconds_of(snowflake) - self._monotonic()
        dated = self._by_date
        if offset > (self._local() - self._monotonic() if dated is None else dated) + AHEAD_S:
            return
        self._by_id = offset if self._by_id is None else max(self._by_id, offset)

    def now(self) -> float:
        """Seconds since 1970, at most about a second and a round trip behind Discord's clock.

        This machine's own time only before Discord has said anything at all.
        """
        known = [offset for offset in (self._by_date, self._by_id) if offset is not None]
        return max(known) + self._monotonic() if known else self._local()

    def utcnow(self) -> datetime:
        """The same as a date."""
        return datetime.fromtimestamp(self.now(), UTC)

    def newest(self) -> int:
        """No message up to now has a higher id than this."""
        return snowflake_at(self.now() + 1.0)

    def age_s(self, snowflake: int) -> float:
        """How long ago Discord made an id."""
        return self.now() - seconds_of(snowflake)


def seconds_of(snowflake: int) -> float:
    """The time in an id, in seconds since 1970."""
    return ((snowflake >> _TIME_SHIFT) + DISCORD_EPOCH) / 1000


def snowflake_at(seconds: float) -> int:
    """The first id of a moment; 0 for one before Discord."""
    return max(0, int(seconds * 1000) - DISCORD_EPOCH) << _TIME_SHIFT
