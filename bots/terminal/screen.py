"""Shows answers: on a terminal as they grow and then as formatted Markdown, in a pipe as they are.

A model's text is not trusted: it must never reach a terminal with its control characters.
"""

import re
import readline
import sys
from typing import Final, Protocol

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment
from rich.spinner import Spinner
from rich.text import Text
from typing_extensions import override

from bots.terminal.lines import PROMPT

_REDRAWS_PER_S: Final = 12
"""Smooth for the eye, cheap for a remote terminal."""

_MARGIN_ROWS: Final = 2
"""Rows kept free below a growing answer, so that erasing it never scrolls."""

_QUESTION_CHARS: Final = 60
"""As much of an earlier question as fits a line beside the words around it."""

_ERASED_LINE: Final = "\r\x1b[2K"

_CONTROLS: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, modes (ECMA-48)
    # OSC, DCS, SOS, PM, APC: titles, the clipboard
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x9c|\x1b\\)?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # all of C0 but tab and line feed, DEL, C1
)


def plain(text: str) -> str:
    """The text without terminal control sequences and characters, but tabs and line ends."""
    return _CONTROLS.sub("", text)


class Screen(Protocol):
    """Where a chat is shown."""

    def note(self, text: str) -> None:
        """Shows words of the program itself."""

    def hint(self, text: str) -> None:
        """Shows words of the program while a line is being typed."""

    def waiting(self) -> None:
        """A question is on its way."""

    def growing(self, text: str) -> None:
        """Shows the answer so far."""

    def answer(self, text: str) -> None:
        """Shows the whole answer, in place of what had grown."""

    def late_answer(self, question: str, text: str, *, prompting: bool) -> None:
        """Shows an answer that nobody waits for, perhaps while the person types."""

    def close(self) -> None:
        """Leaves the terminal as it was."""


class Pipe(Screen):
    """Answers alone go to standard output, for who reads it; all else to standard error."""

    @override
    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)  # noqa: T201

    @override
    def hint(self, text: str) -> None:
        self.note(text)

    @override
    def waiting(self) -> None:
        """Nothing: a pipe shows no progress."""

    @override
    def growing(self, text: str) -> None:
        """Nothing: an answer that was printed cannot be taken back."""

    @override
    def answer(self, text: str) -> None:
        print(plain(text), flush=True)  # noqa: T201

    @override
    def late_answer(self, question: str, text: str, *, prompting: bool) -> None:
        del prompting
        self.note(f"{_heading(question)}\n{plain(text)}")

    @override
    def close(self) -> None:
        """Nothing: all is written."""


class Window(Screen):
    """A terminal that a person looks at."""

    def __init__(self) -> None:
        # A model's text holds no markup of ours, and its numbers want no colours.
        self._console = Console(markup=False, highlight=False)
        self._live: Live | None = None

    @override
    def note(self, text: str) -> None:
        self._console.print(Text(text, style="dim"))

    @override
    def hint(self, text: str) -> None:
        self._above_typing(Text(text, style="dim"))

    @override
    def waiting(self) -> None:
        self._live = Live(
            Spinner("dots", Text("thinking, Ctrl-C stops", style="dim")),
            console=self._console,
            refresh_per_second=_REDRAWS_PER_S,
            transient=True,
        )
        self._live.start()

    @override
    def growing(self, text: str) -> None:
        if self._live:
            self._live.update(_Tail(_markdown(text)))

    @override
    def answer(self, text: str) -> None:
        # What had grown is erased, so that the answer stands there once.
        self.close()
        self._console.print(_markdown(text))
        self._console.print()

    @override
    def late_answer(self, question: str, text: str, *, prompting: bool) -> None:
        words = Group(Text(_heading(question), style="dim"), _markdown(text), Text())
        if prompting and not self._live:
            self._above_typing(words)
        else:
            self._console.print(words)

    @override
    def close(self) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def _above_typing(self, words: RenderableType) -> None:
        """Prints where the line is that is being typed, and draws that again below."""
        self._console.file.write(_ERASED_LINE)
        self._console.print(words)
        self._console.file.write(PROMPT + readline.get_line_buffer())
        self._console.file.flush()


class _Tail:
    """The last rows of something that may be higher than the terminal."""

    def __init__(self, whole: RenderableType) -> None:
        self._whole = whole

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = console.render_lines(self._whole, options.update(height=None), pad=False)
        for row in rows[-max(1, console.height - _MARGIN_ROWS) :]:
            yield from row
            yield Segment.line()


def _markdown(text: str) -> Markdown:
    # A link's address is shown, not hidden behind its words: the model is not trusted.
    return Markdown(plain(text), hyperlinks=False)


def _heading(question: str) -> str:
    words = " ".join(plain(question).split())
    if len(words) > _QUESTION_CHARS:
        words = words[: _QUESTION_CHARS - 1] + "…"
    return f"Answer to your earlier question «{words}»:"
