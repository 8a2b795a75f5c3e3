"""Pauses drawing while a terminal window changes its size, then finds the drawn rows again.

It must never draw before the size has settled: rows drawn for another width could not be found.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from prompt_toolkit.application import Application
from prompt_toolkit.data_structures import Size
from prompt_toolkit.layout.screen import Char

from bots.terminal.reflow import rows_added

_SETTLED_S: Final = 0.5
"""A size counts as settled after this. tmux reports sizes up to 0.25 s late."""


class Resizing:
    """Watches the window size of one application."""

    def __init__(
        self, app: Application[str], *, rewraps: bool, settled: Callable[[], None]
    ) -> None:
        """Takes over the drawing of `app`; calls `settled` before drawing resumes."""
        self._app = app
        self._wraps_again = rewraps
        self._settled = settled
        self._drawn_for: Size | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._draw, self._resized = app.renderer.render, app._on_resize  # noqa: SLF001
        app.renderer.render = self._render  # type: ignore[method-assign]
        # Private, but the only way to act before prompt_toolkit erases what it has drawn.
        app._on_resize = self._on_resize  # type: ignore[method-assign]  # noqa: SLF001
        app.terminal_size_polling_interval = None  # the signal is enough

    def in_progress(self) -> bool:
        """Whether the window is changing its size; it can notice that before the signal arrives."""
        if not self._timer and self._drawn_for not in {None, self._app.output.get_size()}:
            self._on_resize()
        return self._timer is not None

    def end(self) -> None:
        """Treats the current size as settled."""
        if self._timer:
            self._timer.cancel()
            self._settle()

    def _render(self, *arguments: Any, **how: Any) -> None:
        if how.get("is_done") or not self.in_progress():
            self._drawn_for = self._app.output.get_size()
            self._draw(*arguments, **how)

    def _on_resize(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_SETTLED_S, self._settle)

    def _settle(self) -> None:
        self._timer = None
        self._drawn_for = self._app.output.get_size()
        self._account_for_wrapping()
        self._settled()
        self._resized()

    def _account_for_wrapping(self) -> None:
        """Moves the cursor up by the rows that rewrapping has added."""
        screen = self._app.renderer.last_rendered_screen
        if screen is None or not self._wraps_again:
            return
        cursor = screen.get_cursor_position(self._app.layout.current_window)
        widths = [_width_of(screen.data_buffer[y]) for y in range(cursor.y)]
        if added := rows_added(widths, cursor.x, self._app.output.get_size().columns):
            self._app.output.cursor_up(added)


def size_of_terminal() -> Size:
    """The size of the terminal on standard output, 24 rows and 80 columns if unknown."""
    try:
        size = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        size = os.terminal_size((0, 0))
    return Size(rows=size.lines or 24, columns=size.columns or 80)


def _width_of(row: Mapping[int, Char]) -> int:
    """The columns of a drawn row, without trailing blanks."""
    return max((x + cell.width for x, cell in row.items() if cell.char.strip()), default=0)
