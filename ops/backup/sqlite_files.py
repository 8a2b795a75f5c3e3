"""The databases of one machine: copies of SQLite files, taken while they are used.

A copy appears under its final name in one step, when everything else was restored.
"""

import os
import shlex
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from ops.backup.archive import READ_BYTES, Write
from shared.lock import running
from shared.private_file import make_folder, sync_folder

BUSY_S: Final = 30.0

_SIDES: Final = ("-wal", "-shm")
_COPY: Final = ".sqlite.tmp"


class CannotCopy(Exception):
    """SQLite cannot read a file; the message names it and says why."""


def copy(file: Path, beside: Path, write: Write) -> None:
    """Passes a consistent copy of a file to `write`; its users do not wait.

    The copy is on the disk of `beside`, the archive, before it is passed on.

    Raises:
        CannotCopy: SQLite cannot read it.
    """
    for left in beside.parent.glob(f".{beside.name}.*{_COPY}*"):  # by a backup that was killed
        pid = left.name.removeprefix(f".{beside.name}.").partition(".")[0]
        if pid.isdecimal() and not running(int(pid)):
            left.unlink(missing_ok=True)
    temporary = beside.with_name(f".{beside.name}.{os.getpid()}{_COPY}")
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.close(descriptor)
        try:
            with closing(_reading(file)) as source, closing(sqlite3.connect(temporary)) as target:
                source.backup(target)  # in one step: in several, each change would begin it anew
        except sqlite3.Error as error:
            raise CannotCopy(f"{file} cannot be copied: {error}") from error
        with temporary.open("rb") as opened:
            while data := opened.read(READ_BYTES):
                write(data)
    finally:
        temporary.unlink(missing_ok=True)


def rows_in(file: Path, tables: Iterable[str]) -> int:
    """How many rows the tables of a file have; 0 if there is no file.

    Raises:
        CannotCopy: it is not a file of SQLite.
    """
    if not file.exists():
        return 0
    try:
        with closing(_reading(file)) as connection:
            made = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            counts = (
                connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]  # noqa: S608
                for table in tables
                if table in made
            )
            return sum(counts)
    except sqlite3.Error as error:
        raise CannotCopy(f"{file} cannot be read: {error}") from error


def removal(file: Path) -> str:
    """The shell's command that deletes a file."""
    return shlex.join(["rm", "-f", *(f"{file}{side}" for side in ("", *_SIDES))])


def value_in(file: Path, statement: str) -> str | int | None:
    """The first value of a statement; None if there is no file, row or table."""
    if not file.exists():
        return None
    try:
        with closing(_reading(file)) as connection:
            row = connection.execute(statement).fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else row[0]


class Unpacked:
    """A file that has another name until `publish`. Made with `unpacked`."""

    def __init__(self, final: Path, temporary: Path) -> None:
        self._final = final
        self._temporary = temporary

    def change(self, statements: Iterable[tuple[str, tuple[object, ...]]]) -> None:
        """Runs statements in one transaction."""
        with closing(sqlite3.connect(self._temporary)) as connection, connection:
            for statement, values in statements:
                connection.execute(statement, values)

    def rows(self, statement: str) -> list[tuple[int, str]]:
        """The rows of a statement that selects a number and a text."""
        with closing(sqlite3.connect(self._temporary)) as connection:
            return connection.execute(statement).fetchall()

    def publish(self) -> None:
        """Gives it its final name."""
        with self._temporary.open("rb") as file:
            os.fsync(file.fileno())
        for side in _SIDES:  # of a file without rows that this one replaces
            self._final.with_name(self._final.name + side).unlink(missing_ok=True)
        self._temporary.replace(self._final)
        sync_folder(self._final.parent)


@contextmanager
def unpacked(chunks: Iterable[bytes], final: Path) -> Iterator[Unpacked]:
    """A copy next to its final place, which is removed unless it was published."""
    make_folder(final.parent)
    for left in final.parent.glob(f".{final.name}.*.tmp*"):  # by a restore that was killed
        left.unlink()
    temporary = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for data in chunks:
                file.write(data)
        yield Unpacked(final, temporary)
    finally:
        for end in ("", *_SIDES, "-journal"):
            temporary.with_name(temporary.name + end).unlink(missing_ok=True)


def _reading(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=BUSY_S)
