"""Calculates how rows move when a window gets narrower: most terminals rewrap, a few cut them.

Pure. Redrawing needs to know how many rows there are now, or copies of old rows remain.
"""

from collections.abc import Mapping, Sequence
from typing import Final

_CUTTING: Final = ("linux", "screen", "vt", "ansi", "dumb")
"""The beginnings of TERM on terminals that cut rows: Linux console, GNU screen, hardware."""


def rewraps(environment: Mapping[str, str]) -> bool:
    """Whether the terminal rewraps rows that no longer fit, judging by its environment."""
    if environment.get("TMUX"):
        return True  # its TERM can begin with `screen`
    if environment.get("XTERM_VERSION"):
        return False  # set by xterm alone
    return not environment.get("TERM", "").startswith(_CUTTING)


def rows_added(widths: Sequence[int], cursor_column: int, columns: int) -> int:
    """The number of rows that rewrapping adds above a cursor.

    `widths` are the widths, in columns, of the rows above the cursor's own row.
    """
    wrapped = sum((width - 1) // columns for width in widths if width)
    return wrapped + cursor_column // columns
