"""The file of evicted conversations: idle ones, which are on the disk and out of memory.

The file belongs to the recovery store in whose folder it is. A conversation is in one of them or in
both. If it is in both, the recovery store has the newer version.
"""

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from dataflow.effects import Evict, Evicted
from shared.log import logger
from shared.private_file import make_folder
from shared.sqlite_errors import is_broken

TABLES: Final = frozenset({"conversations"})
FILE: Final = "at_rest.db"
"""Does not end in `.sqlite3`, because Bytewax takes all such files for its own."""

UNREADABLE_FOLDER: Final = "unreadable"
"""The folder for stored conversations that this version cannot read."""

BUSY_S: Final = 30.0
"""Processes of a cluster on one machine write one after the other."""

CACHE_KIB: Final = 256
"""Per connection. Each conversation is read only once, so a larger cache makes nothing quicker."""

OnUnusable = Callable[[sqlite3.Error], NoReturn]

OnEvicted = Callable[[str, Evicted], None]
"""Reports to the worker that keeps this user's conversation."""


class _Queued(NamedTuple):
    evict: Evict
    on_evicted: OnEvicted


class EvictedStore:
    """The file, read in the worker's thread and written in a thread of its own."""

    def __init__(self, store: Path, on_unusable: OnUnusable | None = None) -> None:
        """`on_unusable` ends the process if a conversation cannot be read.

        Raises:
            sqlite3.Error: the file cannot be used.
        """
        self._on_unusable = on_unusable
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
        self._queued: dict[str, _Queued] = {}
        self._task: asyncio.Task[None] | None = None

    def get(self, user: str) -> bytes | None:
        """The snapshot of a user's evicted conversation. Call from the worker's thread.

        It stays in the file: after a crash the same event may need it again.

        Raises:
            sqlite3.Error: it cannot be read, and `on_unusable` is not set.
        """
        try:
            with closing(
                self._reading.execute("SELECT saved FROM conversations WHERE user = ?", (user,))
            ) as found:
                row = found.fetchone()
        except sqlite3.Error as error:
            if self._on_unusable is not None:
                self._on_unusable(error)
            raise
        return None if row is None else row[0]

    def set_aside(self, user: str, snapshot: bytes, *, reason: str) -> None:
        """Keeps a conversation that this version cannot read in a file of its own."""
        folder = self._store / UNREADABLE_FOLDER
        make_folder(folder)
        path = folder / f"{hashlib.sha256(snapshot).hexdigest()[:16]}.json"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(snapshot)
        logger().error(
            "a stored conversation cannot be read and was set aside: it begins again, empty",
            user=user, file=str(path), error=reason,
        )  # fmt: skip

    def write(self, evictions: list[tuple[str, Evict]], on_evicted: OnEvicted) -> None:
        """Has conversations written, many in one transaction. Returns at once."""
        self._queued |= {user: _Queued(evict, on_evicted) for user, evict in evictions}
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write())

    async def close(self) -> None:
        """Closes the file once the current transaction is over. Others stay in the snapshots."""
        self._queued.clear()
        if self._task is not None:
            await self._task
        self._reading.close()
        self._writing.close()

    async def _write(self) -> None:
        try:
            while self._queued:
                taken, self._queued = self._queued, {}
                rows = [(user, queued.evict.snapshot) for user, queued in taken.items()]
                try:
                    await asyncio.to_thread(self.put, rows)
                except sqlite3.Error as error:
                    if self._on_unusable is not None and is_broken(error):
                        self._on_unusable(error)
                    # They stay in memory until they become due again.
                    logger().error("idle conversations cannot be evicted", error=str(error))
                    continue
                for user, queued in taken.items():
                    queued.on_evicted(user, Evicted(queued.evict.version))
        finally:
            self._task = None

    def put(self, rows: list[tuple[str, bytes]]) -> None:
        """Writes conversations; returns when they are on the disk. Call from one thread at a time.

        Raises:
            sqlite3.Error: none of them was written; for example, the disk is full.
        """
        with self._writing as connection:
            connection.executemany("INSERT OR REPLACE INTO conversations VALUES (?, ?)", rows)


def _connection(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False)
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return connection
