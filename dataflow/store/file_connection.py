"""A connection to a SQLite file in a thread of its own, which takes one call after the other."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from dataflow.store.store import StoreAway

T = TypeVar("T")

BUSY_S: Final = 10.0
"""Processes on one machine write one after the other; each transaction takes milliseconds."""

CACHE_KIB: Final = 256
"""Per connection. Each conversation is read only once, so a larger cache makes nothing quicker."""


class FileConnection:
    """A connection and its thread. Each call is a transaction, if it begins one."""

    def __init__(self, file: Path) -> None:
        """Opens nothing yet."""
        self._file = file
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._connection: sqlite3.Connection | None = None
        self._is_closed = False

    async def call(self, call: Callable[[sqlite3.Connection], T]) -> T:
        """Calls it in the thread, one after the other.

        Raises:
            StoreAway: it is closed.
            sqlite3.Error: nothing was committed.
        """
        if self._is_closed:
            raise StoreAway("it is closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._in_turn, call)

    def _in_turn(self, call: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            self._connection = _connected(self._file)
        with self._connection:  # commits, or rolls back
            return call(self._connection)

    async def close(self) -> None:
        """Closes it after its last call."""
        self._is_closed = True
        if self._connection is not None:
            connection = self._connection
            await asyncio.get_running_loop().run_in_executor(self._thread, connection.close)
        self._thread.shutdown()


def _connected(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        file, timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return connection
