"""`threadwax usage`: tokens, money and ratings by user, day, model, place or experiment.

Reads only. A cost that is not known is never shown as zero.
"""

import json
import shutil
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import click
import sqlalchemy as sa

from ops.recorded import instant, printable, read
from shared.database.usage import MICRO, NUMBERS, Total, usage
from shared.database.usage_queries import By
from shared.settings import Settings

WIDE: Final = 130
COMPARED: Final[frozenset[By]] = frozenset({"model", "experiment"})
"""The groups that are compared: their cost per answer and their times are printed, too."""


def main(by: By, since: datetime | None, *, as_json: bool) -> None:
    """Prints the report."""

    def work(connection: sa.Connection, settings: Settings) -> dict[str, Total]:
        return usage(connection, by, since, settings.prices)

    groups = read(work)
    total = Total()
    for group in groups.values():
        total.add(group)
    if as_json:
        click.echo(json.dumps(_as_json(by, since, groups, total), indent=2, ensure_ascii=False))
    else:
        _print(by, groups, total)


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
