"""Markdown and notes as rows of a terminal: strings with the escape sequences that style them.

Draws strings only: it must never write to the terminal, and never let a control sequence through
that stands in the text.
"""

import io
from typing import ClassVar, Final

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markdown import CodeBlock, Markdown, MarkdownElement
from rich.segment import Segment
from rich.syntax import Syntax
from rich.text import Text
from rich.theme import Theme
from typing_extensions import override

from bots.terminal.sanitizing import plain

_CODE_THEME: Final = "ansi_dark"
"""The terminal's own colours on its own background, so that code is readable on any."""

_CELLS_LIMIT: Final = 5_000
"""A short text can be a table of a million empty cells: such a one is shown as it is written."""

_THEME: Final = Theme({"markdown.code": "cyan", "markdown.code_block": "cyan"})


class Drawing:
    """Draws for one terminal, whose colours the environment names (TERM, COLORTERM, NO_COLOR)."""

    def __init__(self) -> None:
        # Markup and highlighting would change what the text says.
        self._console = Console(
            file=io.StringIO(), force_terminal=True, markup=False, highlight=False, theme=_THEME
        )

    def markdown(self, text: str, columns: int) -> str:
        """An answer's Markdown in rows, each with its line end."""
        text = plain(text)
        whole: RenderableType = Text(text)
        if _cells(text) <= _CELLS_LIMIT:
            whole = _Answer(text, code_theme=_CODE_THEME, hyperlinks=False)
        rows = self._rows(whole, columns).strip("\n")
        return f"{rows}\n" if rows else ""

    def dim(self, text: str, columns: int) -> str:
        """Words of the program itself in rows, each with its line end."""
        return self._rows(Text(plain(text), style="dim"), columns)

    def dim_line(self, text: str, columns: int) -> str:
        """The same in one row, cut with an ellipsis, without its line end."""
        line = Text(" ".join(plain(text).split()), style="dim", no_wrap=True)
        line.truncate(max(1, columns), overflow="ellipsis")
        return self._rows(line, columns).removesuffix("\n")

    def _rows(self, whole: RenderableType, columns: int) -> str:
        with self._console.capture() as capture:
            self._console.print(_Trimmed(whole), width=max(1, columns), end="")
        return capture.get()


def _cells(text: str) -> int:
    """Cells at most if the text is one table: its rows are as wide as its head."""
    lines = text.splitlines()
    return len(lines) * max((line.count("|") for line in lines), default=0)


class _Code(CodeBlock):
    """Code without a background: it is copied and rewrapped without the blanks that fill one."""

    @override
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        yield Syntax(code, self.lexer_name, theme=self.theme, word_wrap=True, padding=(0, 2))


class _Answer(Markdown):
    """Markdown in which a link's address is shown, since the model is not trusted."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "fence": _Code,
        "code_block": _Code,
    }


class _Trimmed:
    """Rows without the blanks at their ends: these would become rows in a narrower window."""

    def __init__(self, whole: RenderableType) -> None:
        self._whole = whole

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for row in console.render_lines(self._whole, options.update(height=None), pad=False):
            yield from _trimmed(row)
            yield Segment.line()


def _trimmed(row: list[Segment]) -> list[Segment]:
    kept = list(row)
    while kept and not kept[-1].text.strip() and not _is_drawn(kept[-1]):
        kept.pop()
    if kept and not _is_drawn(kept[-1]):
        kept[-1] = Segment(kept[-1].text.rstrip(), kept[-1].style)
    return kept


def _is_drawn(segment: Segment) -> bool:
    """Whether blanks of this style can be seen."""
    style = segment.style
    return bool(style and (style.bgcolor or style.underline or style.reverse))
