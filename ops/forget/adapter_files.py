"""Erases a user from the files that adapters keep in the data folder.

Each may be in use by a running adapter.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from shared import user_names

BUSY_S: Final = 10.0


def erase_history(home: Path, user: str) -> int:
    """Deletes the questions that a terminal chat offers again; returns how many there were."""
    platform, token = user_names.split_user(user)
    path = home / "terminal" / f"{token}.history"
    if platform != "terminal" or not path.exists():
        return 0
    count = len(path.read_bytes().splitlines())
    path.unlink()
    return count


def erase_discord(home: Path, user: str) -> int:
    """Deletes who asked which question from the store of the Discord adapter.

    Raises:
        sqlite3.Error: the file cannot be used now.
    """
    path = home / "discord" / "memory.sqlite"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        return connection.execute("DELETE FROM asked WHERE user = ?", (user,)).rowcount
