"""Sums of tokens, money and ratings by user, day, model, place or experiment, from the database.

Reads only. A cost that is not known must never look like zero.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from shared.database.usage_queries import By, of_answers, of_background_calls
from shared.prices import Price, cost_microdollars
from shared.replies import Usage

Row = Mapping[str, Any]

MICRO: Final = 1_000_000
NO_MODEL: Final = "(no model was asked)"
NO_PLACE: Final = "(question not recorded)"


@dataclass(slots=True)
class Total:
    """The sums over one group: of its answers and, apart, of calls that answer no question."""

    questions: int = 0
    answered: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    microdollars: int = 0
    without_price: int = 0
    """Answers whose tokens are known, but not the price of their model."""
    without_usage: int = 0
    """Calls that gave some text, but whose tokens are not known."""
    up: int = 0
    down: int = 0
    timed: int = 0
    """Answers whose times are known; the next two are sums over these."""
    first_text_ms: int = 0
    answer_ms: int = 0
    background_calls: int = 0
    background_prompt_tokens: int = 0
    background_cached_tokens: int = 0
    background_completion_tokens: int = 0
    background_microdollars: int = 0
    background_without_price: int = 0
    models_without_price: set[str] = field(default_factory=set)

    def add(self, other: "Total") -> None:
        """Adds the sums of another group."""
        for name in NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.models_without_price |= other.models_without_price

    @property
    def dollars(self) -> str:
        """The money for answers, with a mark if some of it is not known."""
        return _dollars(self.microdollars, self.without_price)

    @property
    def background_dollars(self) -> str:
        """The same for calls that answer no question."""
        return _dollars(self.background_microdollars, self.background_without_price)

    def mean_ms(self, total_ms: int) -> int | None:
        """The mean of one of the times; None: no time is known."""
        return round(total_ms / self.timed) if self.timed else None


NUMBERS: Final = (
    "questions", "answered", "prompt_tokens", "cached_tokens", "completion_tokens",
    "reasoning_tokens", "microdollars", "without_price", "without_usage", "up", "down", "timed",
    "first_text_ms", "answer_ms", "background_calls", "background_prompt_tokens",
    "background_cached_tokens", "background_completion_tokens", "background_microdollars",
    "background_without_price",
)  # fmt: skip


def usage(
    connection: sa.Connection,
    by: By,
    since: datetime | None,
    prices: Mapping[str, Price],
    user: str | None = None,
) -> dict[str, Total]:
    """The sums of each group since a time; with `user`, only those of that person."""
    dialect = connection.dialect.name
    answered = connection.execute(of_answers(dialect, by, since, user)).mappings().all()
    called = connection.execute(of_background_calls(dialect, by, since, user)).mappings().all()
    return totals(map(dict, answered), map(dict, called), prices)


def totals(
    answered: Iterable[Row], called: Iterable[Row], prices: Mapping[str, Price]
) -> dict[str, Total]:
    """The sums of each group, in order.

    `answered` has one row per group, model and kind of cost; `called` the same of the calls that
    answer no question.
    """
    groups: defaultdict[str, Total] = defaultdict(Total)
    for row in answered:
        cost = _cost(row, prices)
        groups[_name(row["key"])].add(
            Total(
                questions=row["calls"],
                answered=int(row["answered"] or 0),
                prompt_tokens=int(row["prompt_tokens"] or 0),
                cached_tokens=int(row["cached_tokens"] or 0),
                completion_tokens=int(row["completion_tokens"] or 0),
                reasoning_tokens=int(row["reasoning_tokens"] or 0),
                microdollars=cost.microdollars,
                without_price=cost.without_price,
                without_usage=int(row["without_usage"] or 0),
                up=int(row["up"] or 0),
                down=int(row["down"] or 0),
                timed=int(row["timed"] or 0),
                first_text_ms=round(row["first_text_ms"] or 0),
                answer_ms=round(row["answer_ms"] or 0),
                models_without_price={row["model"]} if cost.without_price else set(),
            )
        )
    for row in called:
        cost = _cost(row, prices)
        groups[_name(row["key"])].add(
            Total(
                background_calls=row["calls"],
                background_prompt_tokens=int(row["prompt_tokens"] or 0),
                background_cached_tokens=int(row["cached_tokens"] or 0),
                background_completion_tokens=int(row["completion_tokens"] or 0),
                background_microdollars=cost.microdollars,
                background_without_price=cost.without_price,
                without_usage=int(row["without_usage"] or 0),
                models_without_price={row["model"]} if cost.without_price else set(),
            )
        )
    return dict(sorted(groups.items()))


def _name(key: str | None) -> str:
    return NO_PLACE if key is None else key or NO_MODEL


@dataclass(frozen=True, slots=True)
class _Cost:
    """What calls cost, and how many of them are not in it, because their model has no price."""

    microdollars: int
    without_price: int = 0


def _cost(row: Row, prices: Mapping[str, Price]) -> _Cost:
    if not row["price_missing"]:
        return _Cost(int(row["microdollars"] or 0))
    # The sums cost as much as their calls one by one, by the prices of today.
    usage = Usage(
        prompt_tokens=int(row["prompt_tokens"] or 0),
        cached_tokens=int(row["cached_tokens"] or 0),
        completion_tokens=int(row["completion_tokens"] or 0),
    )
    cost = cost_microdollars(row["model"], usage, prices)
    return _Cost(0, row["calls"]) if cost is None else _Cost(cost)


def _dollars(microdollars: int, without_price: int) -> str:
    return f"{microdollars / MICRO:.4f}{'+' if without_price else ''}"
