"""`threadwax usage`: tokens, money and ratings by user, day, model, place or experiment.

Reads only. A cost that is not known is never shown as zero.
"""

import json
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, get_args

import click
import sqlalchemy as sa

from ops.recorded import instant, printable, read
from shared.database.tables import answers, questions, ratings
from shared.messages import Usage
from shared.prices import Price, cost_microdollars
from shared.settings import Settings

By = Literal["user", "day", "model", "place", "experiment"]
GROUPS: Final = get_args(By)

MICRO: Final = 1_000_000
WIDE: Final = 130
MS_PER_DAY: Final = 86_400_000
NO_MODEL: Final = "(no model was asked)"
NO_PLACE: Final = "(question not recorded)"
NO_EXPERIMENT: Final = "(no experiment)"
COMPARED: Final[frozenset[By]] = frozenset({"model", "experiment"})
"""The groups that are compared: their cost per answer and their times are printed, too."""


@dataclass(slots=True)
class Total:
    """The sums over one group of answers."""

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
    models_without_price: set[str] = field(default_factory=set)

    def add(self, other: "Total") -> None:
        """Adds the sums of another group."""
        for name in NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.models_without_price |= other.models_without_price

    @property
    def dollars(self) -> str:
        """The money, with a mark if some of it is not known."""
        return f"{self.microdollars / MICRO:.4f}{'+' if self.without_price else ''}"

    def mean_ms(self, total_ms: int) -> int | None:
        """The mean of one of the times; None: no time is known."""
        return round(total_ms / self.timed) if self.timed else None


NUMBERS: Final = (
    "questions", "answered", "prompt_tokens", "cached_tokens", "completion_tokens",
    "reasoning_tokens", "microdollars", "without_price", "up", "down", "timed", "first_text_ms",
    "answer_ms",
)  # fmt: skip


def main(by: By, since: datetime | None, *, as_json: bool) -> None:
    """Prints the report."""

    def work(connection: sa.Connection, settings: Settings) -> dict[str, Total]:
        found = connection.execute(_statement(connection.dialect.name, by, since)).mappings()
        return totals(map(dict, found), settings.prices)

    groups = read(work)
    total = Total()
    for group in groups.values():
        total.add(group)
    if as_json:
        click.echo(json.dumps(_as_json(by, since, groups, total), indent=2, ensure_ascii=False))
    else:
        _print(by, groups, total)


def totals(rows: Iterable[Mapping[str, Any]], prices: Mapping[str, Price]) -> dict[str, Total]:
    """The sums of each group, in order; `rows` has one row per group, model and kind of cost."""
    groups: defaultdict[str, Total] = defaultdict(Total)
    for row in rows:
        key = NO_PLACE if row["key"] is None else row["key"] or NO_MODEL
        microdollars, without_price = int(row["microdollars"] or 0), 0
        if row["price_missing"]:
            # The sums cost as much as their answers one by one, by the prices of today.
            usage = Usage(
                prompt_tokens=int(row["prompt_tokens"] or 0),
                cached_tokens=int(row["cached_tokens"] or 0),
                completion_tokens=int(row["completion_tokens"] or 0),
            )
            cost = cost_microdollars(row["model"], usage, prices)
            microdollars, without_price = cost or 0, row["questions"] if cost is None else 0
        groups[key].add(
            Total(
                questions=row["questions"],
                answered=int(row["answered"] or 0),
                prompt_tokens=int(row["prompt_tokens"] or 0),
                cached_tokens=int(row["cached_tokens"] or 0),
                completion_tokens=int(row["completion_tokens"] or 0),
                reasoning_tokens=int(row["reasoning_tokens"] or 0),
                microdollars=microdollars,
                without_price=without_price,
                up=int(row["up"] or 0),
                down=int(row["down"] or 0),
                timed=int(row["timed"] or 0),
                first_text_ms=round(row["first_text_ms"] or 0),
                answer_ms=round(row["answer_ms"] or 0),
                models_without_price={row["model"]} if without_price else set(),
            )
        )
    return dict(sorted(groups.items()))


def _statement(dialect: str, by: By, since: datetime | None) -> sa.Select[Any]:
    key = _key(dialect, by)
    price_missing = sa.and_(
        answers.c.cost_microdollars.is_(None), answers.c.prompt_tokens.is_not(None)
    )
    rated = (
        sa.select(
            ratings.c.prompt_id,
            sa.func.sum(sa.case((ratings.c.thumb == "up", 1), else_=0)).label("up"),
            sa.func.sum(sa.case((ratings.c.thumb == "down", 1), else_=0)).label("down"),
        )
        .group_by(ratings.c.prompt_id)
        .subquery()
    )
    called, first, ended = answers.c.called_at, answers.c.first_token_at, answers.c.answered_at
    is_timed = sa.and_(answers.c.outcome == "answered", called.is_not(None), first.is_not(None))
    columns = [
        key.label("key"),
        answers.c.model,
        price_missing.label("price_missing"),
        sa.func.count().label("questions"),
        sa.func.sum(sa.case((answers.c.outcome == "answered", 1), else_=0)).label("answered"),
        sa.func.sum(answers.c.cost_microdollars).label("microdollars"),
        sa.func.sum(rated.c.up).label("up"),
        sa.func.sum(rated.c.down).label("down"),
        sa.func.sum(sa.case((is_timed, 1), else_=0)).label("timed"),
        *(
            sa.func.sum(sa.case((is_timed, _milliseconds(dialect, called, until)))).label(name)
            for name, until in (("first_text_ms", first), ("answer_ms", ended))
        ),
        *(sa.func.sum(answers.c[name]).label(name) for name in NUMBERS if name.endswith("_tokens")),
    ]
    statement = (
        sa.select(*columns)
        .select_from(answers)
        .outerjoin(rated, rated.c.prompt_id == answers.c.prompt_id)
        .group_by(sa.text("1"), answers.c.model, sa.text("3"))
    )
    if by == "place":
        statement = statement.outerjoin(questions, questions.c.prompt_id == answers.c.prompt_id)
    if since is not None:
        statement = statement.where(answers.c.answered_at >= since)
    return statement


def _key(dialect: str, by: By) -> sa.ColumnElement[Any]:
    if by == "user":
        return answers.c.user_id
    if by == "model":
        return answers.c.model
    if by == "experiment":
        was_asked = sa.or_(answers.c.called_at.is_not(None), answers.c.model != "")
        return sa.func.coalesce(answers.c.experiment, sa.case((was_asked, NO_EXPERIMENT), else_=""))
    if by == "place":
        place = questions.c
        return place.platform + "/" + place.space + "/" + place.channel
    if dialect == "sqlite":
        return sa.func.strftime("%Y-%m-%d", answers.c.answered_at)
    return sa.func.to_char(sa.func.timezone("UTC", answers.c.answered_at), "YYYY-MM-DD")


def _milliseconds(
    dialect: str, since: sa.ColumnElement[Any], until: sa.ColumnElement[Any]
) -> sa.ColumnElement[Any]:
    if dialect == "sqlite":
        return (sa.func.julianday(until) - sa.func.julianday(since)) * MS_PER_DAY
    return sa.extract("epoch", until - since) * 1000


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
    if total.without_price:
        models = ", ".join(sorted(map(printable, total.models_without_price)))
        click.echo(
            f"+ {total.without_price:,} of these answers are not in the money, because the price "
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
