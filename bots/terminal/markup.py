"""Renders Markdown and notes for a terminal: strings with escape sequences that style them.

It only returns strings, and must never write to the terminal. It must never let a control sequence
in the text through.
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

from bots.terminal.sanitizing import sanitized

_CODE_THEME: Final = "ansi_dark"
"""Uses the terminal's own colours, so that code is readable on any background."""

_CELLS_LIMIT: Final = 5_000
"""A larger table is shown as plain text: a short text can have a million empty cells."""

_THEME: Final = Theme({"markdown.code": "cyan", "markdown.code_block": "cyan"})


class Markup:
    """Renders for one terminal, with the colours that TERM, COLORTERM and NO_COLOR allow."""

    def __init__(self) -> None:
        # Rich's own markup and highlighting would change the text.
        self._console = Console(
            file=io.StringIO(), force_terminal=True, markup=False, highlight=False, theme=_THEME
        )

    def markdown(self, text: str, columns: int) -> str:
        """Renders the Markdown of an answer as rows, each with its line end."""
        text = sanitized(text)
        whole: RenderableType = Text(text)
        if _cells(text) <= _CELLS_LIMIT:
            whole = _Answer(text, code_theme=_CODE_THEME, hyperlinks=False)
        rows = self._rows(whole, columns).strip("\n")
        return f"{rows}\n" if rows else ""

    def dim(self, text: str, columns: int) -> str:
        """Renders a message of the program itself as rows, each with its line end."""
        return self._rows(Text(sanitized(text), style="dim"), columns)

    def dim_line(self, text: str, columns: int) -> str:
        """Renders it as one row without a line end, cut with an ellipsis."""
        line = Text(" ".join(sanitized(text).split()), style="dim", no_wrap=True)
        line.truncate(max(1, columns), overflow="ellipsis")
        return self._rows(line, columns).removesuffix("\n")

    def _rows(self, whole: RenderableType, columns: int) -> str:
        with self._console.capture() as capture:
            self._console.print(_Trimmed(whole), width=max(1, columns), end="")
        return capture.get()


def _cells(text: str) -> int:
    """The most table cells that the text can contain: every row gets as many as the widest."""
    lines = text.splitlines()
    return len(lines) * max((line.count("|") for line in lines), default=0)


class _Code(CodeBlock):
    """Code without a background, whose padding would be copied along with the code."""

    @override
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        yield Syntax(code, self.lexer_name, theme=self.theme, word_wrap=True, padding=(0, 2))


class _Answer(Markdown):
    """Markdown that shows the addresses of links, because the model is not trusted."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "fence": _Code,
        "code_block": _Code,
    }


class _Trimmed:
    """Rows without trailing blanks, which would wrap in a narrower window."""

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
    """Whether blanks in this style are visible."""
    style = segment.style
    return bool(style and (style.bgcolor or style.underline or style.reverse))
