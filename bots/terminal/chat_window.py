"""A chat on a terminal with a line editor: questions and answers above the line being typed.

Finished parts of an answer are printed once and scroll like any output. Only the last rows are
redrawn: the end of a growing answer, and the reason for a wait.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from bots.terminal.editor import Editor
from bots.terminal.preview import Piece, Preview
from bots.terminal.screen import Screen, late_heading

_REDRAW_S: Final = 1 / 12
"""Looks smooth and is cheap on a remote terminal."""

_HINT_S: Final = 3.0
_TAIL_ROWS: Final = 12
"""The most rows of a block that is still growing; fewer in a low window."""

_STATUS_ROWS: Final = 4
_QUEUED_ROWS: Final = 3
_SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class ChatWindow(Screen):
    """The screen of one chat."""

    def __init__(self, editor: Editor) -> None:
        """Shows a chat above the line of `editor`, which the caller runs."""
        self._editor = editor
        self._markup = editor.markup
        self._waiting = ""
        self._hint = ""
        self._preview: Preview | None = None
        self._newest = ""
        self._tail: tuple[str, int, list[str]] = ("", 0, [])
        self._tick: asyncio.TimerHandle | None = None
        self._unhint: asyncio.TimerHandle | None = None
        self._frame = 0
        editor.changed = self._redraw

    @property
    def _columns(self) -> int:
        return self._editor.size.columns

    @override
    def note(self, text: str) -> None:
        self._editor.print(self._markup.dim(text, self._columns))

    @override
    def hint(self, text: str) -> None:
        self._hint = text
        if self._unhint:
            self._unhint.cancel()
        self._unhint = asyncio.get_running_loop().call_later(_HINT_S, self._end_hint)
        self._redraw()

    @override
    def waiting(self) -> None:
        self._preview = None
        self._newest = ""
        self.status("thinking, Ctrl-C stops")

    @override
    def status(self, text: str) -> None:
        self._waiting = text
        self._start_ticking()
        self._redraw()

    @override
    def show_partial(self, text: str) -> None:
        # Drawn at the next tick, unless a newer partial replaces it first.
        self._newest = text
        self._start_ticking()

    @override
    def answer(self, text: str) -> None:
        preview = self._continued(text)
        self.stop_waiting()
        self._editor.print(self._drawn(preview.end(text)))

    @override
    def stop_waiting(self) -> None:
        self._waiting = self._newest = ""
        self._preview = None
        if self._tick:
            self._tick.cancel()
            self._tick = None
        self._redraw()

    @override
    def late_answer(self, question: str, text: str) -> None:
        heading = self._markup.dim(late_heading(question), self._columns)
        self._editor.print(heading + self._drawn(Preview().end(text)))

    @override
    def close(self) -> None:
        self.stop_waiting()
        self._editor.close()

    # --- redrawn rows -------------------------------------------------------------------------

    def _start_ticking(self) -> None:
        if self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(_REDRAW_S, self._ticked)

    def _ticked(self) -> None:
        self._tick = None
        self._frame += 1
        if self._newest:
            text, self._newest = self._newest, ""
            if pieces := self._continued(text).grow(text):
                self._editor.print(self._drawn(pieces))
            self._waiting = "answering, Ctrl-C stops"
        if self._waiting:
            self._start_ticking()
            self._redraw()

    def _end_hint(self) -> None:
        self._hint = ""
        self._redraw()

    def _continued(self, text: str) -> Preview:
        """The preview on the screen, or a new one if this text begins differently."""
        if self._preview and not self._preview.continues(text):
            self._preview = None
            self.note("The answer begins again:")
        self._preview = self._preview or Preview()
        return self._preview

    def _drawn(self, pieces: Iterable[Piece]) -> str:
        return "".join(
            self._markup.markdown(piece.text, self._columns) + "\n" * piece.spaced
            for piece in pieces
        )

    def _redraw(self) -> None:
        self._editor.show([*self._tail_rows(), *self._status_rows(), *self._queued_rows()])

    def _tail_rows(self) -> list[str]:
        text = self._preview.tail if self._preview else ""
        size = self._editor.size
        if (text, size.columns) != self._tail[:2]:
            drawn = self._markup.markdown(text, size.columns) if text.strip() else ""
            self._tail = (text, size.columns, drawn.splitlines())
        return self._tail[2][-max(1, min(_TAIL_ROWS, size.rows // 2)) :]

    def _status_rows(self) -> list[str]:
        status = self._hint
        if not status and self._waiting:
            after = "; leaving after this answer" if self._editor.leaving else ""
            status = f"{_SPINNER[self._frame % len(_SPINNER)]} {self._waiting}{after}"
        rows = self._markup.dim(status, self._columns).splitlines() if status else []
        return rows[:_STATUS_ROWS]

    def _queued_rows(self) -> list[str]:
        if not self._waiting:
            return []  # the next one is about to be asked
        queued = [f"next: {text}" for text in self._editor.queued]
        if len(queued) > _QUEUED_ROWS:
            queued[_QUEUED_ROWS:] = [f"and {len(queued) - _QUEUED_ROWS} more"]
        return [self._markup.dim_line(text, self._columns) for text in queued]
