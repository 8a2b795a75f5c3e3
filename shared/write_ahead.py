"""Switches a SQLite file to its write-ahead log, with which readers and writers do not wait."""

import sqlite3
import time
from typing import Final

AGAIN_S: Final = 0.01


def use_write_ahead_log(connection: sqlite3.Connection, *, within_s: float) -> None:
    """Waits until no other process has the file open for the same purpose.

    Raises:
        sqlite3.OperationalError: it was locked for `within_s` seconds.
    """
    deadline = time.monotonic() + within_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # The first switch needs the file alone, and SQLite does not wait for that:
            # https://sqlite.org/wal.html (section 8)
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(AGAIN_S)
        else:
            return
