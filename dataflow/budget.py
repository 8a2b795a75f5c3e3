"""What one person or place has used of a budget, and what is held for calls in progress.

Pure: no clock. The time is passed in. What is reported about an earlier day does not change the
counters of a later one. Periods are days and months in UTC.

A call reserves its largest possible amount before it is made, and is settled with what it has
really used. Both are keyed by prompt id, and reserving twice holds the amount once. The ledger is
part of the state of its only writer, so no two calls can take the same room.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final, Literal

from pydantic import AwareDatetime

from shared.budgets import Limits

WARN_AT: Final = 0.8
"""The operator is warned once per period when this part of a limit is used."""

HELD_FOR: Final = timedelta(hours=1)
"""A call ends far sooner. This limits the damage if its end is never reported."""

MICRODOLLARS: Final = 1_000_000
"""Per dollar."""

Unit = Literal["tokens", "dollars"]
Period = Literal["day", "month"]


@dataclass(frozen=True, slots=True)
class Amount:
    """Tokens, and millionths of a dollar (0 if the model's price is unknown)."""

    tokens: int = 0
    microdollars: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.tokens + other.tokens, self.microdollars + other.microdollars)

    def of(self, unit: Unit) -> int:
        """Tokens or microdollars."""
        return self.tokens if unit == "tokens" else self.microdollars


NOTHING: Final = Amount()


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `most` tokens or microdollars per period."""

    period: Period
    unit: Unit
    most: int


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why a call is not made. `used` and `held` are without the call, which `needs` this much."""

    limit: Limit
    used: int
    held: int
    needs: int
    renews_at: datetime


@dataclass(frozen=True, slots=True)
class NearlyUsed:
    """`WARN_AT` of a limit is used."""

    limit: Limit
    used: int


@dataclass(slots=True)
class Counter:
    """What was used in the period that begins on this day, and the units warned about."""

    begins: date = date.min
    tokens: int = 0
    microdollars: int = 0
    warned: tuple[Unit, ...] = ()

    def add(self, amount: Amount) -> None:
        """Adds what a call has used."""
        self.tokens += amount.tokens
        self.microdollars += amount.microdollars

    def of(self, unit: Unit) -> int:
        """Tokens or microdollars."""
        return self.tokens if unit == "tokens" else self.microdollars


@dataclass(frozen=True, slots=True)
class Held:
    """The largest amount that a call in progress can use, held since then."""

    since: AwareDatetime
    tokens: int = 0
    microdollars: int = 0

    def of(self, unit: Unit) -> int:
        """Tokens or microdollars."""
        return self.tokens if unit == "tokens" else self.microdollars


@dataclass(slots=True)
class Ledger:
    """The counters of one person or place. Field names are keys of stored JSON."""

    day: Counter = field(default_factory=Counter)
    month: Counter = field(default_factory=Counter)
    held: dict[str, Held] = field(default_factory=dict)

    def reserve(
        self, prompt_id: str, amount: Amount, limits: Iterable[Limit], now: datetime
    ) -> Shortage | None:
        """Holds an amount for a call, or returns why there is no room for it.

        A call that holds an amount already keeps its room, even if it now needs more.
        """
        self._follow_back(now)
        self._renew(now)
        if prompt_id not in self.held:
            self._drop_old(now)
            shortages = list(self._shortages(amount, limits))
            if shortages:
                return max(shortages, key=_urgency)
        self.held[prompt_id] = Held(now, amount.tokens, amount.microdollars)
        return None

    def settle(
        self, prompt_id: str, used: Amount, limits: Iterable[Limit], at: datetime
    ) -> list[NearlyUsed]:
        """Counts what a call has used, on the day on which it ended, and frees what it held."""
        self._renew(at)
        self.held.pop(prompt_id, None)
        if self.day.begins == _begin("day", at):
            self.day.add(used)
        if self.month.begins == _begin("month", at):
            self.month.add(used)
        return list(self._newly_warned(limits))

    def _counter(self, period: Period) -> Counter:
        return self.day if period == "day" else self.month

    def _renew(self, now: datetime) -> None:
        if (day := _begin("day", now)) > self.day.begins:
            self.day = Counter(day)
        if (month := _begin("month", now)) > self.month.begins:
            self.month = Counter(month)

    def _follow_back(self, now: datetime) -> None:
        """Moves periods that have not begun, because the clock was ahead and was set right.

        Otherwise nothing would be counted until they begin. What was used in them stays used.
        """
        if (day := _begin("day", now)) < self.day.begins:
            self.day.begins = day
        if (month := _begin("month", now)) < self.month.begins:
            self.month.begins = month

    def _drop_old(self, now: datetime) -> None:
        # By the clock that was set right, a call can also have begun in the future.
        old = [key for key, held in self.held.items() if abs(now - held.since) > HELD_FOR]
        for key in old:
            del self.held[key]

    def _shortages(self, amount: Amount, limits: Iterable[Limit]) -> Iterator[Shortage]:
        for limit in limits:
            counter, needs = self._counter(limit.period), amount.of(limit.unit)
            used = counter.of(limit.unit)
            held = sum(held.of(limit.unit) for held in self.held.values())
            if used + held + needs > limit.most:
                yield Shortage(limit, used, held, needs, renewal(limit.period, counter.begins))

    def _newly_warned(self, limits: Iterable[Limit]) -> Iterator[NearlyUsed]:
        for limit in limits:
            counter = self._counter(limit.period)
            used = counter.of(limit.unit)
            if used >= limit.most * WARN_AT and limit.unit not in counter.warned:
                counter.warned = (*counter.warned, limit.unit)
                yield NearlyUsed(limit, used)


def limits_in(limits: Limits) -> tuple[Limit, ...]:
    """The limits of a setting, in tokens and microdollars."""
    found: list[Limit] = []
    by_period: tuple[tuple[Period, int | None, Decimal | None], ...] = (
        ("day", limits.tokens_per_day, limits.dollars_per_day),
        ("month", limits.tokens_per_month, limits.dollars_per_month),
    )
    for period, tokens, dollars in by_period:
        if tokens is not None:
            found.append(Limit(period, "tokens", tokens))
        if dollars is not None:
            found.append(Limit(period, "dollars", int(dollars * MICRODOLLARS)))
    return tuple(found)


def renewal(period: Period, begins: date) -> datetime:
    """When the period after the one that begins on this day begins."""
    if period == "day":
        following = begins + timedelta(days=1)
    else:
        following = (begins.replace(day=1) + timedelta(days=31)).replace(day=1)
    return datetime.combine(following, time.min, UTC)


def _begin(period: Period, at: datetime) -> date:
    day = at.astimezone(UTC).date()
    return day if period == "day" else day.replace(day=1)


def _urgency(shortage: Shortage) -> tuple[bool, datetime]:
    """Sorts by what keeps the person waiting longest: too small for the call, then by renewal."""
    return shortage.needs > shortage.limit.most, shortage.renews_at
