"""Erases a user's conversation from the files that only the dataflow's own code opens."""

import sqlite3
from contextlib import closing
from pathlib import Path

from dataflow.erasing.recovery_files import empty_log
from dataflow.eviction.store import BUSY_S, FILE, UNREADABLE_FOLDER


def erase_evicted(store: Path, user: str) -> int:
    """Deletes the user's evicted conversation, and empties the write-ahead log.

    Raises:
        StillBusy: the log is in use.
        sqlite3.Error: the file cannot be used now.
    """
    file = store / FILE
    if not file.exists():
        return 0
    with closing(sqlite3.connect(file, timeout=BUSY_S, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        erased = connection.execute("DELETE FROM conversations WHERE user = ?", (user,)).rowcount
        empty_log(connection)
    return erased


def erase_unreadable(store: Path, user: str) -> int:
    """Deletes conversations of the user that were set aside because they could not be read."""
    name = f'"{user}"'.encode()
    erased = 0
    for path in (store / UNREADABLE_FOLDER).glob("*"):
        if name in path.read_bytes():
            path.unlink()
            erased += 1
    return erased


def set_aside_stores(store: Path) -> list[str]:
    """The broken stores next to this one, which nobody but an operator may delete."""
    return sorted(path.name for path in store.parent.glob(f"{store.name}.broken-*"))
