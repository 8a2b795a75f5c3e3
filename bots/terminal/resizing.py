"""A terminal's window while it changes its size: nothing is drawn, and then all of it is found.

Rows that were drawn for a width that the terminal no longer has cannot be found again, so it must
never draw before the size has settled.
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
"""A window has its size if it keeps it for this long. tmux reports sizes up to 0.25 s late."""


class Resizing:
    """Watches the size of one application's window."""

    def __init__(
        self, app: Application[str], *, wraps_again: bool, settled: Callable[[], None]
    ) -> None:
        """Takes over the drawing of `app`; `settled` is called before it draws again."""
        self._app = app
        self._wraps_again = wraps_again
        self._settled = settled
        self._drawn_for: Size | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._draw, self._resized = app.renderer.render, app._on_resize  # noqa: SLF001
        app.renderer.render = self._render  # type: ignore[method-assign]
        # Private, but there is no other way to act before it erases what it has drawn.
        app._on_resize = self._on_resize  # type: ignore[method-assign]  # noqa: SLF001
        app.terminal_size_polling_interval = None  # the signal is enough

    def goes_on(self) -> bool:
        """Whether the window is changing its size, which may be seen before the signal comes."""
        if not self._timer and self._drawn_for not in {None, self._app.output.get_size()}:
            self._on_resize()
        return self._timer is not None

    def end(self) -> None:
        """Takes the size that the window has now for the last one."""
        if self._timer:
            self._timer.cancel()
            self._settle()

    def _render(self, *arguments: Any, **how: Any) -> None:
        if how.get("is_done") or not self.goes_on():
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
        """Goes up by the rows that a narrower window has added to those that are drawn."""
        screen = self._app.renderer.last_rendered_screen
        if screen is None or not self._wraps_again:
            return
        cursor = screen.get_cursor_position(self._app.layout.current_window)
        widths = [_width_of(screen.data_buffer[y]) for y in range(cursor.y)]
        if added := rows_added(widths, cursor.x, self._app.output.get_size().columns):
            self._app.output.cursor_up(added)


def size_of_terminal() -> Size:
    """The size of the terminal on standard output; what is usual if it does not say."""
    try:
        size = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        size = os.terminal_size((0, 0))
    return Size(rows=size.lines or 24, columns=size.columns or 80)


def _width_of(row: Mapping[int, Char]) -> int:
    """The columns that a drawn row takes, without the blanks at its end."""
    return max((x + cell.width for x, cell in row.items() if cell.char.strip()), default=0)
