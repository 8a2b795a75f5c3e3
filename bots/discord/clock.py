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


HOLDS_S: Final = 3600.0
"""An id counts for at least this long and at most twice as long: clocks drift apart, and one id of
a machine whose clock is ahead must not make all later ones seem old."""


class DiscordClock:
    """Discord's time by the last `Date` header, and never before the newest id of the last hour."""

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
        self._by_earlier_id: float | None = None
        self._ids_since = float("-inf")

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
        now = self._monotonic()
        offset = seconds_of(snowflake) - now
        dated = self._by_date
        if offset > (self._local() - now if dated is None else dated) + AHEAD_S:
            return
        if now - self._ids_since > HOLDS_S:
            is_recent = now - self._ids_since <= 2 * HOLDS_S
            self._by_earlier_id = self._by_id if is_recent else None
            self._by_id, self._ids_since = None, now
        self._by_id = offset if self._by_id is None else max(self._by_id, offset)

    def now(self) -> float:
        """Seconds since 1970, at most about a second and a round trip behind Discord's clock.

        Falls back to this machine's clock before the first response from Discord.
        """
        offsets = (self._by_date, self._by_id, self._by_earlier_id)
        known = [offset for offset in offsets if offset is not None]
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
