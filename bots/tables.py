"""Lays out a table for a platform that draws none: as columns in code, or as a list.

Pure. It must never lose a cell, nor give a text out of all proportion to the table: padding and
repeated headers are limited by what the table itself holds.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from rich.cells import cell_len

WIDTH_LIMIT: Final = 60
"""Columns of code that a narrow window shows without wrapping."""

PADDING_LIMIT: Final = 3
"""Columns take at most this many times the characters of their cells, beyond the free ones."""

PADDING_FREE_CHARS: Final = 200
"""A small table may have any padding."""

GAP: Final = "  "

_CELL_END: Final = re.compile(r"(?<!\\)\|")

Row = Sequence[str]


def cells_of(row: str) -> list[str]:
    """The cells of a row as it is written."""
    row = row.strip().removeprefix("|")
    if row.endswith("|") and not row.endswith("\\|"):
        row = row[:-1]
    return [cell.strip().replace("\\|", "|") for cell in _CELL_END.split(row)]


def columns(head: Row, body: Sequence[Row]) -> list[str] | None:
    """Lines with aligned columns, for code; None if they would be wide or mostly blank."""
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
    """A list with an item for each row, of `Header: cell` pairs.

    Headers that are longer than the cells, or that no cell would show, are a row of their own.
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
