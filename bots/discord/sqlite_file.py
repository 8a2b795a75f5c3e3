"""One SQLite file that may break: what cannot be read any more is set aside, and an empty one used.

It must never raise to those who remember something in it: what is in the file only saves work after
a restart, and everything in it can be found again on Discord or done without.
"""

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from shared.log import logger

CACHE_KIB: Final = 256
"""The file is small and mostly written at its end: SQLite would keep 2 MB of it in store."""

_BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_CUT_SHORT: Final = sqlite3.SQLITE_IOERR_SHORT_READ
_PRIMARY: Final = 0xFF
"""The bits of an error code without its details: https://sqlite.org/rescode.html"""

Row = tuple[Any, ...]


class SqliteFile:
    """An open file with the tables of `schema`.

    `start_over` is called whenever an empty file takes the place of one that held something, with
    the rows of the query `keep` that can still be read in that one.
    """

    def __init__(
        self, path: Path, schema: str, *, keep: str, start_over: Callable[[list[Row]], None]
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._schema = schema
        self._keep = keep
        self._start_over = start_over
        self._failing = False
        self._existed = path.exists()

    def open(self) -> None:
        """Opens the file, or an empty one if it is broken.

        Raises:
            sqlite3.DatabaseError: neither is possible, on a read-only disk for example.
        """
        try:
            self._db, empty = self._opened()
        except sqlite3.DatabaseError as error:
            if not _is_broken(error):
                raise
            self._set_aside()
        else:
            if self._existed and empty:
                self._start_over([])

    def close(self) -> None:
        """Closes the file."""
        with suppress(sqlite3.Error):
            self._db.close()

    def run(self, sql: str, values: Iterable[Any] = ()) -> list[Row]:
        """The rows of one statement; none where the file cannot be read or written now."""
        values = tuple(values)
        try:
            rows = self._db.execute(sql, values).fetchall()
        except OverflowError:  # a number beyond 64 bits is no id of Discord's
            return []
        except sqlite3.Error as error:
            if _is_broken(error):
                self.close()
                self._set_aside()
                return self._db.execute(sql, values).fetchall()
            if not self._failing:
                # A full disk, say: without what would be remembered, more is read after a restart.
                name = getattr(error, "sqlite_errorname", type(error).__name__)
                logger().error("nothing is remembered now", error=name)
            self._failing = True
            return []
        if sql.startswith("INSERT"):  # others find nothing to do, and so do not fail
            self._failing = False
        return rows

    def run_synced(self, sql: str, values: Iterable[Any] = ()) -> None:
        """The same, and on the disk when it returns: for what nothing else could bring back."""
        self.run("PRAGMA synchronous=FULL")
        self.run(sql, values)
        self.run("PRAGMA synchronous=NORMAL")

    def _opened(self) -> tuple[sqlite3.Connection, bool]:
        """The file, and whether nothing was in it.

        Raises:
            sqlite3.DatabaseError: it is broken, or cannot be opened now.
        """
        db = sqlite3.connect(self._path, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            # NORMAL: a power cut can take the latest changes, but never break the file.
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
            (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise _Broken  # noqa: TRY301  (closed like one that SQLite itself refuses)
            empty = db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
            db.executescript(self._schema)
            self._path.chmod(0o600)
        except BaseException:
            db.close()
            raise
        return db, empty

    def _set_aside(self) -> None:
        """Renames the broken file and opens an empty one in its place."""
        number = 1
        while (aside := self._path.with_name(f"{self._path.name}.broken-{number}")).exists():
            number += 1
        for ending in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                self._path.with_name(self._path.name + ending).rename(f"{aside}{ending}")
        self._db, _ = self._opened()
        kept = self._still_readable(aside)
        logger().error(
            "the adapter's memory was broken: it is set aside and an empty one is used",
            set_aside=str(aside),
            rows_kept=len(kept),
        )
        self._start_over(kept)

    def _still_readable(self, aside: Path) -> list[Row]:
        rows: list[Row] = []
        with suppress(sqlite3.Error):
            db = sqlite3.connect(f"{aside.as_uri()}?mode=ro", uri=True)
            try:
                rows.extend(db.execute(self._keep))
            finally:
                db.close()
        return rows


class _Broken(sqlite3.DatabaseError):
    """SQLite's own check found a fault."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def _is_broken(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and (code == _CUT_SHORT or code & _PRIMARY in _BROKEN)
