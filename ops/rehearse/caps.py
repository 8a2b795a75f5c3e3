"""How much a rehearsal may cost and how long it may take.

Pure: the clock is passed in. Money is reserved before a call and settled after it, so that calls in
progress can never pass the limit together, as far as their cost can be foreseen.
"""

from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final, Literal

from dataflow.tokens import FIRST_RATIO
from dataflow.truncation import request_tokens
from shared.prices import Price, price_of

MICRO: Final = 1_000_000

Reached = Literal["money", "time"]

Allowed = Literal["now", "later", "never"]
"""`later`: once calls in progress have turned out cheaper than they might have been."""


def most_microdollars(
    model: str,
    messages: tuple[dict[str, Any], ...],
    answer_tokens: int,
    prices: Mapping[str, Price],
) -> int | None:
    """The most that a call is expected to cost, with the longest answer; None: unknown price."""
    price = price_of(model, prices)
    if price is None:
        return None
    cost = Decimal(request_tokens(messages)) * Decimal(str(FIRST_RATIO)) * price.input
    cost += answer_tokens * price.output
    return int(cost.to_integral_value(ROUND_CEILING))


class Caps:
    """The limits of one run, and what it has used of them."""

    def __init__(
        self,
        *,
        microdollars: int | None,
        seconds: float | None,
        spent: int,
        clock: Callable[[], float],
    ) -> None:
        """`spent`: what earlier runs of the same rehearsal have cost. None: no limit."""
        self._limit = microdollars
        self._clock = clock
        self._ends_at = None if seconds is None else clock() + seconds
        self._reserved = 0
        self.spent = spent
        self.reached: Reached | None = None
        """The first limit that kept a call from being made."""

    def reserve(self, most: int | None) -> Allowed:
        """Reserves money for a call, if it may be made now."""
        if self._ends_at is not None and self._clock() >= self._ends_at:
            self.reached = self.reached or "time"
            return "never"
        wanted = most or 0
        if self._limit is not None and self.spent + self._reserved + wanted > self._limit:
            if self._reserved and self.spent + wanted <= self._limit:
                return "later"
            self.reached = self.reached or "money"
            return "never"
        self._reserved += wanted
        return "now"

    def settle(self, most: int | None, cost: int | None) -> None:
        """Replaces a reservation by the cost. If that is unknown, the reservation counts."""
        self._reserved -= most or 0
        self.spent += (most or 0) if cost is None else cost
