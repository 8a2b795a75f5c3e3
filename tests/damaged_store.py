"""Damages a store so that only whoever reads a conversation finds out."""

import sqlite3
from contextlib import closing
from pathlib import Path


def break_conversations(file: Path) -> None:
    """Overwrites the first page of the conversations. Nobody may have the file open."""
    with closing(sqlite3.connect(file)) as store:
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        chosen = "SELECT rootpage FROM sqlite_master WHERE name = 'conversations'"
        (page,) = store.execute(chosen).fetchone()
        (size,) = store.execute("PRAGMA page_size").fetchone()
    with file.open("r+b") as pages:
        pages.seek((page - 1) * size)
        pages.write(b"\xff" * size)
