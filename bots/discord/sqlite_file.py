"""An SQLite file that may break: a broken file is set aside and replaced by an empty one.

It must never raise to its users. The file only saves work after a restart, and everything in it can
be found again on Discord or done without.
"""

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from shared.log import logger

CACHE_KIB: Final = 256
"""The file is small and mostly written at its end; SQLite's default is 2 MB."""

_BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_CUT_SHORT: Final = sqlite3.SQLITE_IOERR_SHORT_READ
_PRIMARY: Final = 0xFF
"""Masks the details of an error code: https://sqlite.org/rescode.html"""

Row = tuple[Any, ...]


class SqliteFile:
    """An open file with the tables of `schema`.

    When an empty file replaces one that had content, `start_over` is called with the rows of the
    query `keep` that can still be read from the old file.
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
        """Open the file, or an empty one if it is broken.

        Raises:
            sqlite3.DatabaseError: neither is possible, for example on a read-only disk.
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
        """Close the file."""
        with suppress(sqlite3.Error):
            self._db.close()

    def run(self, sql: str, values: Iterable[Any] = ()) -> list[Row]:
        """The rows of one statement; none if the file cannot be read or written at the moment."""
        values = tuple(values)
        try:
            rows = self._db.execute(sql, values).fetchall()
        except OverflowError:  # a number beyond 64 bits is not an id
            return []
        except sqlite3.Error as error:
            if _is_broken(error):
                self.close()
                self._set_aside()
                return self._db.execute(sql, values).fetchall()
            if not self._failing:
                # For example a full disk. More has to be read from Discord after a restart.
                name = getattr(error, "sqlite_errorname", type(error).__name__)
                logger().error("store not writable", error=name)
            self._failing = True
            return []
        if sql.startswith("INSERT"):  # other statements may have nothing to write
            self._failing = False
        return rows

    def run_synced(self, sql: str, values: Iterable[Any] = ()) -> None:
        """The same, but on disk when it returns: for rows that nothing else could restore."""
        self.run("PRAGMA synchronous=FULL")
        self.run(sql, values)
        self.run("PRAGMA synchronous=NORMAL")

    def _opened(self) -> tuple[sqlite3.Connection, bool]:
        """Open the file; returns the connection and whether the file was empty.

        Raises:
            sqlite3.DatabaseError: it is broken, or cannot be opened at the moment.
        """
        db = sqlite3.connect(self._path, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            # With NORMAL, a power cut can lose the latest changes, but never break the file.
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
            (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise _Broken  # noqa: TRY301  (handled like a file that SQLite itself refuses)
            empty = db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
            db.executescript(self._schema)
            self._path.chmod(0o600)
        except BaseException:
            db.close()
            raise
        return db, empty

    def _set_aside(self) -> None:
        """Rename the broken file and open an empty one in its place."""
        number = 1
        while (aside := self._path.with_name(f"{self._path.name}.broken-{number}")).exists():
            number += 1
        for ending in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                self._path.with_name(self._path.name + ending).rename(f"{aside}{ending}")
        self._db, _ = self._opened()
        kept = self._still_readable(aside)
        logger().error(
            "the store was broken: it is set aside and replaced by an empty one",
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
