"""Lays out a table for a platform without tables: as columns in a code block, or as a list.

Pure. It must never lose a cell, nor produce far more text than the table has: padding and repeated
headers are limited by the length of the cells.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from rich.cells import cell_len

WIDTH_LIMIT: Final = 60
"""The widest line that a narrow window shows without wrapping."""

PADDING_LIMIT: Final = 3
"""Padding may make a table this many times as long as its cells, plus the number below."""

PADDING_FREE_CHARS: Final = 200
"""A table with fewer characters may have any padding."""

GAP: Final = "  "

_CELL_END: Final = re.compile(r"(?<!\\)\|")

Row = Sequence[str]


def cells_of(row: str) -> list[str]:
    """The cells of a row of Markdown."""
    row = row.strip().removeprefix("|")
    if row.endswith("|") and not row.endswith("\\|"):
        row = row[:-1]
    return [cell.strip().replace("\\|", "|") for cell in _CELL_END.split(row)]


def columns(head: Row, body: Sequence[Row]) -> list[str] | None:
    """Lines with aligned columns, for a code block; None if they would be wide or mostly blank."""
    widths: list[int] = []
    for row in (head, *body):
        widths += [0] * (len(row) - len(widths))
        for k, cell in enumerate(row):
            widths[k] = max(widths[k], cell_len(cell))
    if sum(widths) + len(GAP) * (len(widths) - 1) > WIDTH_LIMIT:
        return None
    lines = [GAP.join(map(_padded, row, widths)).rstrip() for row in (head, *body)]
    content = sum(len(cell) for row in (head, *body) for cell in row)
    if sum(map(len, lines)) > PADDING_FREE_CHARS + PADDING_LIMIT * content:
        return None
    lines.insert(1, GAP.join("-" * max(1, width) for width in widths))
    return lines


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - cell_len(cell))


def listed(head: Row, body: Sequence[Row]) -> list[str]:
    """A list with one item per row, made of `Header: cell` pairs.

    The header becomes a row of its own if it is longer than the cells, or if a column is empty.
    """
    repeated = sum(len(name) for row in body for name, cell in zip(head, row, strict=False) if cell)
    content = sum(len(cell) for row in body for cell in row)
    used = {k for row in body for k, cell in enumerate(row) if cell}
    if repeated > content or any(name and k not in used for k, name in enumerate(head)):
        return [_item(cells) for cells in (head, *body) if any(cells)]
    return [_item(_pairs(head, row)) for row in body if any(row)]


def _pairs(head: Row, row: Row) -> Iterable[str]:
    for k, cell in enumerate(row):
        name = head[k].rstrip(":") if k < len(head) else ""
        yield f"{name}: {cell}" if name and cell else cell


def _item(cells: Iterable[str]) -> str:
    return "- " + "; ".join(cell for cell in cells if cell)
