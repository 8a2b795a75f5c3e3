"""Conversations at rest: those that nobody touched for a while, on disk and out of memory.

The file lies in the folder of the recovery store and never without it: a conversation is in the
one, in the other, or in both, and then the recovery store's is the newer.
"""

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, NoReturn

from dataflow.effects import Keep, Kept
from shared.log import logger
from shared.private_file import make_folder
from shared.sqlite_errors import is_broken

TABLES: Final = frozenset({"conversations"})
FILE: Final = "at_rest.db"
"""Not `.sqlite3`: Bytewax takes each file of that name for one of its own."""

ASIDE: Final = "unreadable"
"""The folder for stored conversations that this version cannot read."""

BUSY_S: Final = 30.0
"""Processes of a cluster on one machine write one after the other."""

CACHE_KIB: Final = 256
"""Of each of the two connections: a conversation is read once, when its user comes back. 2 MB were
no quicker with 200,000 of them."""

Unusable = Callable[[sqlite3.Error], NoReturn]

Done = Callable[[str, Kept], None]
"""Takes the news back to the worker that keeps this user's conversation."""


class EvictedStore:
    """The file: read in the worker's thread, written for the asyncio thread in one of its own."""

    def __init__(self, store: Path, unusable: Unusable | None = None) -> None:
        """`unusable` ends the process where a conversation cannot be read.

        Raises:
            sqlite3.Error: the file cannot be used.
        """
        self._unusable = unusable
        self._store = store
        self._writing = _connection(store / FILE)
        with self._writing as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS conversations"
                " (user TEXT PRIMARY KEY, saved BLOB NOT NULL) STRICT"
            )
        self._reading = _connection(store / FILE)
        self._waiting: dict[str, tuple[Keep, Done]] = {}
        self._task: asyncio.Task[None] | None = None

    def get(self, user: str) -> bytes | None:
        """The conversation of a user, if it was put to rest. In the worker's thread.

        It stays in the file: after a crash the same event may need it again.

        Raises:
            sqlite3.Error: it cannot be read, and nothing ended the process for that.
        """
        try:
            with closing(
                self._reading.execute("SELECT saved FROM conversations WHERE user = ?", (user,))
            ) as found:
                row = found.fetchone()
        except sqlite3.Error as error:
            if self._unusable is not None:
                self._unusable(error)
            raise
        return None if row is None else row[0]

    def set_aside(self, user: str, saved: bytes, *, reason: str) -> None:
        """Keeps a stored conversation that this version cannot read in a file of its own."""
        folder = self._store / ASIDE
        make_folder(folder)
        path = folder / f"{hashlib.sha256(saved).hexdigest()[:16]}.json"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(saved)
        logger().error(
            "a stored conversation cannot be read: its memory begins again",
            user=user, file=str(path), error=reason,
        )  # fmt: skip

    def take(self, keeps: list[tuple[str, Keep]], done: Done) -> None:
        """Has conversations written, many in one transaction. Returns at once."""
        self._waiting |= {user: (keep, done) for user, keep in keeps}
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write())

    async def close(self) -> None:
        """Closes the file after what is being written. What is not, stays in memory's snapshot."""
        self._waiting.clear()
        if self._task is not None:
            await self._task
        self._reading.close()
        self._writing.close()

    async def _write(self) -> None:
        try:
            while self._waiting:
                taken, self._waiting = self._waiting, {}
                rows = [(user, keep.saved) for user, (keep, _) in taken.items()]
                try:
                    await asyncio.to_thread(self.put, rows)
                except sqlite3.Error as error:
                    if self._unusable is not None and is_broken(error):
                        self._unusable(error)
                    # They stay in memory, and are tried again after as long a rest.
                    logger().error("conversations cannot be put to rest", error=str(error))
                    continue
                for user, (keep, done) in taken.items():
                    done(user, Kept(keep.version))
        finally:
            self._task = None

    def put(self, rows: list[tuple[str, bytes]]) -> None:
        """Writes conversations; returns when they are on the disk. In one thread at a time.

        Raises:
            sqlite3.Error: none of them is; for example, the disk is full.
        """
        with self._writing as connection:
            connection.executemany("INSERT OR REPLACE INTO conversations VALUES (?, ?)", rows)


def _connection(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False)
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return connection
