"""How far rows move when a window gets narrower: most terminals wrap long rows, a few cut them.

Pure. Whoever redraws rows needs to know how many there are now, or leaves copies of them.
"""

from collections.abc import Mapping, Sequence
from typing import Final

_CUTTING: Final = ("linux", "screen", "vt", "ansi", "dumb")
"""How TERM begins where rows are cut: the Linux console, GNU screen, hardware."""


def wraps_again(environment: Mapping[str, str]) -> bool:
    """Whether the terminal wraps rows that no longer fit, as far as its environment tells."""
    if environment.get("TMUX"):
        return True  # its TERM may begin with `screen`
    if environment.get("XTERM_VERSION"):
        return False  # only xterm itself sets this one
    return not environment.get("TERM", "").startswith(_CUTTING)


def rows_added(widths: Sequence[int], cursor_column: int, columns: int) -> int:
    """Rows that wrapping adds above a cursor.

    `widths` are those of the rows above the cursor's own, in columns of the terminal.
    """
    wrapped = sum((width - 1) // columns for width in widths if width)
    return wrapped + cursor_column // columns
