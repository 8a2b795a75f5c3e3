"""Rewrites a model's Markdown for a platform that draws only some of it.

Pure. It replaces what the platform cannot draw and leaves everything else as the model wrote it. It
must never change code, nor lose a word that people would read.
"""

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Literal

from bots.code_fence import quote_of
from bots.inline_markdown import Inline, inlines_of
from bots.markdown import Block, Span, blocks_of
from bots.tables import cells_of, columns, listed

Drawn = Literal["table", "deep heading", "rule", "task", "image", "link", "indented code"]
"""What at least one platform can draw; none of them draws formulas or `<br>`."""

RULE: Final = "─" * 12

CELL_BREAK: Final = " / "
"""Replaces a line break in a table cell."""

QUOTE_LIMIT_CHARS: Final = 8
"""Four nested quotes; longer marks are not repeated before each line of a replaced block."""

_DEEP: Final = 4
"""The first heading level that Discord does not draw."""

_BLOCK_HINT: Final = re.compile(
    r"\||\$\$|\\\[|\[[ xX]\]|####|==|-[ \t]*-|\*[ \t]*\*[ \t]*\*|_[ \t]*_[ \t]*_"
)
_INLINE_HINT: Final = re.compile(r"!\[|\]\(|\$|\\\(|<br", re.IGNORECASE)
_TASK: Final = re.compile(r"\[([ xX])\] ")
_BACKTICKS: Final = re.compile(r"`+")

Edit = tuple[int, int, str]
"""Start and end of a place in the text, and its replacement."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a platform can draw."""

    draws: Collection[Drawn]


def rendered(text: str, dialect: Dialect) -> str:
    """The text with replacements for whatever the platform cannot draw."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not _INLINE_HINT.search(text) and not _BLOCK_HINT.search(text):
        return text
    edits: list[Edit] = []
    for block in blocks_of(text, indented_code="indented code" in dialect.draws):
        edits += _block_edits(text, block, dialect)
    return _edited(text, edits)


def _edited(text: str, edits: Sequence[Edit]) -> str:
    out: list[str] = []
    last = 0
    for start, end, shown in edits:
        if start >= last:  # not inside something that was replaced as a whole
            out += text[last:start], shown
            last = end
    return "".join([*out, text[last:]])


def _block_edits(text: str, block: Block, dialect: Dialect) -> Iterator[Edit]:
    lines = block.lines
    start, end = lines[0][0], lines[-1][1]
    next_line = "\n" + _quote_before(text, start)
    shown: list[str] | None = None
    if block.kind == "formula":
        shown = _as_code(_formula_lines([text[a:b] for a, b in lines]), "latex")
    elif block.kind == "rule" and "rule" not in dialect.draws:
        shown = [RULE]
    elif block.kind == "table" and "table" not in dialect.draws:
        shown = _table([text[a:b] for a, b in lines], dialect)
    elif block.kind == "heading" and block.level >= _DEEP and "deep heading" not in dialect.draws:
        shown = [_bold(_inlined(_title_of(text[start:end]), dialect, next_line))]
    if shown is not None:
        yield start, end, next_line.join(shown)
        return
    if block.kind == "underlined" and "rule" not in dialect.draws:
        yield from _inline_edits(text, lines[:-1], dialect, next_line)
        if lines[-1][1] - lines[-1][0] > 1:
            yield *lines[-1], RULE
        return
    if block.in_item and "task" not in dialect.draws and (task := _TASK.match(text, start, end)):
        yield start, task.end(), f"{'☐' if task[1] == ' ' else '☑'} "
    line_break = CELL_BREAK if block.kind == "table" else next_line
    yield from _inline_edits(text, lines, dialect, line_break)


def _quote_before(text: str, start: int) -> str:
    """The quote marks before a block."""
    quote = quote_of(text[text.rfind("\n", 0, start) + 1 : start])
    return quote if len(quote) <= QUOTE_LIMIT_CHARS else ""


# --- blocks ---------------------------------------------------------------------------------------


def _formula_lines(lines: list[str]) -> list[str]:
    return lines[1:-1] if len(lines) > 1 else [lines[0].rstrip()[2:-2]]


def _title_of(heading: str) -> str:
    """The text of a heading, without the marks before and after it."""
    title = heading.lstrip("#").strip()
    words = title.rstrip("#")
    return title if words and words == words.rstrip() else words.rstrip()


def _bold(title: str) -> str:
    return title if "**" in title or not title else f"**{title}**"


def _table(lines: list[str], dialect: Dialect) -> list[str]:
    rows = [cells_of(line) for line in (lines[0], *lines[2:])]
    plain = [[_without_breaks(cell) for cell in row] for row in rows]
    if (aligned := columns(plain[0], plain[1:])) is not None:
        return _as_code(aligned)
    shown = [[_inlined(cell, dialect, CELL_BREAK) for cell in row] for row in rows]
    return listed(shown[0], shown[1:])


def _without_breaks(cell: str) -> str:
    found = inlines_of(cell) if "<" in cell else []
    return _edited(cell, [(i.start, i.end, CELL_BREAK) for i in found if i.kind == "break"])


def _as_code(lines: list[str], name: str = "") -> list[str]:
    runs = (len(run) for line in lines for run in _BACKTICKS.findall(line))
    marker = "`" * max(3, max(runs, default=0) + 1)
    return [f"{marker}{name}", *lines, marker]


# --- within a line --------------------------------------------------------------------------------


def _inlined(content: str, dialect: Dialect, line_break: str) -> str:
    span = ((0, len(content)),)
    return _edited(content, list(_inline_edits(content, span, dialect, line_break)))


def _inline_edits(
    text: str, lines: Sequence[Span], dialect: Dialect, line_break: str
) -> Iterator[Edit]:
    content = "\n".join(text[start:end] for start, end in lines)
    if not _INLINE_HINT.search(content):
        return
    starts = list(accumulate((end - start + 1 for start, end in lines), initial=0))

    def place(at: int) -> int:
        line = bisect_right(starts, at) - 1
        return lines[line][0] + at - starts[line]

    for inline in inlines_of(content):
        if (shown := _shown(inline, dialect, line_break)) is not None:
            yield place(inline.start), place(inline.end - 1) + 1, shown


def _shown(inline: Inline, dialect: Dialect, line_break: str) -> str | None:
    """The replacement; None if it stays as it is."""
    label, target = inline.label, inline.target
    if inline.kind == "break":
        return line_break
    if inline.kind == "formula":
        return f"`{label}`"
    if inline.kind == "image" and "image" not in dialect.draws and target:
        return f"{label}: <{target}>" if label else f"<{target}>"
    if inline.kind == "link" and "link" not in dialect.draws:
        untitled = inline.end - inline.start == len(f"[{label}]({target})")
        if untitled and label.startswith(("https://", "http://")):
            return label if target in {label, f"{label}/"} else None
    return None
