"""Processes that open the same new SQLite file at the same moment."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from shared.write_ahead import use_write_ahead_log

OPENERS = 8


def test_all_who_open_a_new_file_at_once_get_the_log(tmp_path: Path) -> None:
    """SQLite refuses some of them at once, however long its own timeout is."""
    together = threading.Barrier(OPENERS)

    def opened(file: Path) -> str:
        with closing(sqlite3.connect(file, timeout=10.0)) as connection:
            together.wait()
            use_write_ahead_log(connection, within_s=10.0)
            mode: str = connection.execute("PRAGMA journal_mode").fetchone()[0]
        return mode

    with ThreadPoolExecutor(OPENERS) as openers:
        for turn in range(20):
            file = tmp_path / f"{turn}.db"
            assert set(openers.map(opened, [file] * OPENERS)) == {"wal"}


def test_a_file_that_stays_locked_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "locked.db"
    with closing(sqlite3.connect(file)) as holder, closing(sqlite3.connect(file, timeout=0)) as one:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            use_write_ahead_log(one, within_s=0.05)
