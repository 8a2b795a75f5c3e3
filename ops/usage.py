"""`threadwax usage`: tokens, money and ratings by user, day, model, place or experiment.

Reads only. A cost that is not known is never shown as zero.
"""

import json
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import click
import sqlalchemy as sa

from ops.recorded import instant, printable, read
from ops.usage_queries import By, of_answers, of_background_calls
from shared.messages import Usage
from shared.prices import Price, cost_microdollars
from shared.settings import Settings

Row = Mapping[str, Any]

MICRO: Final = 1_000_000
WIDE: Final = 130
NO_MODEL: Final = "(no model was asked)"
NO_PLACE: Final = "(question not recorded)"
COMPARED: Final[frozenset[By]] = frozenset({"model", "experiment"})
"""The groups that are compared: their cost per answer and their times are printed, too."""


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
    "reasoning_tokens", "microdollars", "without_price", "up", "down", "timed", "first_text_ms",
    "answer_ms", "background_calls", "background_prompt_tokens", "background_cached_tokens",
    "background_completion_tokens", "background_microdollars", "background_without_price",
)  # fmt: skip


def main(by: By, since: datetime | None, *, as_json: bool) -> None:
    """Prints the report."""

    def work(connection: sa.Connection, settings: Settings) -> dict[str, Total]:
        dialect = connection.dialect.name
        answered = connection.execute(of_answers(dialect, by, since)).mappings().all()
        called = connection.execute(of_background_calls(dialect, by, since)).mappings().all()
        return totals(map(dict, answered), map(dict, called), settings.prices)

    groups = read(work)
    total = Total()
    for group in groups.values():
        total.add(group)
    if as_json:
        click.echo(json.dumps(_as_json(by, since, groups, total), indent=2, ensure_ascii=False))
    else:
        _print(by, groups, total)


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


def _as_json(
    by: By, since: datetime | None, groups: Mapping[str, Total], total: Total
) -> dict[str, Any]:
    return {
        "by": by,
        "since": instant(since),
        "groups": [{by: key, **_numbers(group)} for key, group in groups.items()],
        "total": _numbers(total),
        "models_without_price": sorted(total.models_without_price),
    }


def _numbers(total: Total) -> dict[str, int | None]:
    numbers = {name: getattr(total, name) for name in NUMBERS}
    means = {
        "mean_first_text_ms": total.mean_ms(total.first_text_ms),
        "mean_answer_ms": total.mean_ms(total.answer_ms),
    }
    return numbers | means


def _print(by: By, groups: Mapping[str, Total], total: Total) -> None:
    from rich.console import Console
    from rich.table import Table

    heads: tuple[str, ...] = (
        "questions",
        "answered",
        "input",
        "cached",
        "output",
        "US$",
        "up",
        "down",
    )
    if by in COMPARED:
        heads += ("US$ each", "first text", "answer")
    table = Table(box=None, pad_edge=False, show_footer=len(groups) > 1)
    cells = [_cells(by, group) for group in groups.values()]
    table.add_column(by, footer="total", overflow="fold")
    for head, footer in zip(heads, _cells(by, total), strict=True):
        table.add_column(head, footer=footer, justify="right", no_wrap=True)
    for key, row in zip(groups, cells, strict=True):
        table.add_row(printable(key), *row)
    # A terminal wraps the lines of a wide table; columns that are cut off could not be read.
    width = max(shutil.get_terminal_size().columns, WIDE) if by in COMPARED else None
    Console(markup=False, highlight=False, soft_wrap=True, width=width).print(table)
    if total.background_calls:
        click.echo(
            f"In addition, {total.background_calls:,} calls for summaries used "
            f"{total.background_prompt_tokens:,} tokens of input "
            f"({total.background_cached_tokens:,} of them cached) and "
            f"{total.background_completion_tokens:,} of output: US$ {total.background_dollars}."
        )
    if unpriced := total.without_price + total.background_without_price:
        models = ", ".join(sorted(map(printable, total.models_without_price)))
        click.echo(
            f"+ {unpriced:,} of these calls are not in the money, because the price "
            f"of {models} is unknown: set THREADWAX_PRICES (docs/recorder.md)."
        )


def _cells(by: By, total: Total) -> tuple[str, ...]:
    cells = (
        f"{total.questions:,}", f"{total.answered:,}", f"{total.prompt_tokens:,}",
        f"{total.cached_tokens:,}", f"{total.completion_tokens:,}", total.dollars,
        f"{total.up:,}", f"{total.down:,}",
    )  # fmt: skip
    if by not in COMPARED:
        return cells
    each = f"{total.microdollars / MICRO / total.answered:.5f}" if total.answered else ""
    times = (total.mean_ms(total.first_text_ms), total.mean_ms(total.answer_ms))
    return (
        *cells, f"{each}{'+' if total.without_price else ''}",
        *("" if ms is None else f"{ms / 1000:.1f} s" for ms in times),
    )  # fmt: skip
