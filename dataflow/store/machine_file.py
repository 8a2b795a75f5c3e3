"""Moves the conversations of one machine's file into a store that several machines share, once.

The file stays, renamed, until somebody is forgotten: whatever is in it is in the store, too. It
must never overwrite what the store has.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from dataflow.store.sqlite import FILE
from dataflow.store.store import POSITION, CannotOpen, Imported, OtherPartitionCount, Row, Store
from shared import lifecycle
from shared.private_file import sync_folder

BUSY_S: Final = 5.0
"""How long a file may still be in use, for example by a process that stops."""

DAMAGED: Final = (
    "{folder} has conversations of an older version, or of one machine, and cannot be read: {why}. "
    "Restore it from a backup, or move it away: then what the stream has is remembered."
)

IN_USE: Final = (
    "{folder} has conversations of this machine, and another process still writes to it. Stop all "
    "dataflow processes on this data folder, and start again: then they move to DATABASE_URL."
)

_MOVED: Final = f"{FILE.name}.migrated"
_AT_ONCE: Final = 500


async def move_file(home: Path, store: Store, partitions: int) -> None:
    """Moves the conversations of this machine's file into a store that several machines share.

    Raises:
        CannotOpen, OSError: the file cannot be read; nothing has been moved.
        OtherPartitionCount: the file belongs to another stream; nothing has been moved.
    """
    file = home / FILE
    if not file.exists():
        return
    if await store.import_older(_in_file(file, partitions)):
        lifecycle.say(f"the conversations in {file} are in {store.name} now")
    # If they were not read, there may be a log. Processes that start together do this at once.
    for end in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            file.with_name(f"{file.name}{end}").rename(file.with_name(f"{_MOVED}{end}"))
    sync_folder(file.parent)


def _in_file(file: Path, partitions: int) -> Iterator[Imported]:
    try:
        yield from _parts_of(file, partitions)
    except sqlite3.Error as error:
        is_used = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
        text = IN_USE if is_used else DAMAGED
        raise CannotOpen(text.format(folder=file, why=error)) from error
    except ValidationError as error:
        raise CannotOpen(DAMAGED.format(folder=file, why="a position is damaged")) from error


def _parts_of(file: Path, partitions: int) -> Iterator[Imported]:
    with closing(reading(file)) as connection:
        # Its log becomes part of the file, unless another process uses it.
        connection.execute("PRAGMA journal_mode = DELETE")
        (count,) = connection.execute("SELECT partitions FROM store").fetchone()
        if count != partitions:
            raise OtherPartitionCount(count, partitions)
        positions = connection.execute("SELECT number, position FROM partitions")
        yield Imported(positions={number: POSITION.validate_json(at) for number, at in positions})
        yield Imported(places=dict(connection.execute("SELECT budget, saved FROM place_budgets")))
        rows = connection.execute("SELECT partition, user, saved, has_work FROM conversations")
        while some := rows.fetchmany(_AT_ONCE):
            yield Imported([(n, Row(user, saved, bool(has))) for n, user, saved, has in some])


def remove_moved(home: Path) -> None:
    """Removes the file once it is not used any more: it has words of people."""
    for file in (home / FILE).parent.glob(f"{_MOVED}*"):
        file.unlink(missing_ok=True)


def reading(file: Path) -> sqlite3.Connection:
    """A connection to a file that is only read."""
    # Not read-only: a log that a crash has left is applied first.
    return sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=BUSY_S)
