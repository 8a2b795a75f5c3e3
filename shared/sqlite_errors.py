"""Distinguishes a damaged SQLite file from one that cannot be used now, as on a full disk.

A file must never count as damaged because of a temporary problem.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

_BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_CUT_SHORT: Final = sqlite3.SQLITE_IOERR_SHORT_READ
_PRIMARY: Final = 0xFF
"""Masks the primary code of an extended error code: https://sqlite.org/rescode.html"""


def is_broken(error: sqlite3.Error) -> bool:
    """Whether the error means that the file is damaged."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and (code == _CUT_SHORT or code & _PRIMARY in _BROKEN)


def fault(path: Path, tables: frozenset[str], *, whole: bool = True) -> str:
    """What is wrong with a file that should have these tables; empty if it seems fine.

    `whole`: reads all of the file, otherwise only its beginning.
    """
    if not path.exists():
        return "it is missing"
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as connection:
            found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if missing := tables - {name for (name,) in found}:
                return f"it has no table {min(missing)}"
            if not whole:
                return ""
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        return str(error) if is_broken(error) else ""
    return "" if verdict == "ok" else " ".join(str(verdict).split())
