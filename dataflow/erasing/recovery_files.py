"""Cleans the files of the recovery store, in a process of its own, while the dataflow runs.

It must never run in the process of the dataflow: Bytewax has a copy of SQLite of its own, and two
copies in one process drop each other's locks (https://sqlite.org/howtocorrupt.html, 2.2.1).

Bytewax removes old snapshots itself, but SQLite leaves their bytes in free pages and in the
write-ahead log. Standard library only, so that it starts quickly.
"""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

STEP: Final = "conversations.conversation"
"""The keyed step of the flow, as Bytewax stores its name."""

BUSY_S: Final = 2.0

LOCKED_AT_MOST_S: Final = 2.5
"""Bytewax panics if it cannot write for 5 s."""

SAVED_WITHIN_S: Final = 20.0
"""The recovery store is written once a second."""

LOOK_EVERY_S: Final = 0.1

_CHECK_EVERY: Final = 10_000
"""Instructions of SQLite's virtual machine between looks at the clock."""

_STILL_BUSY: Final = 75
"""EX_TEMPFAIL of sysexits.h."""


class StillBusy(Exception):
    """The files cannot be cleaned now: others use them, or there is too much in them."""


# --- for the dataflow ------------------------------------------------------------------------


def until_saved(store: Path, user: str, forget_id: str) -> None:
    """Waits until all snapshots of a user are newer than an event. Blocks.

    Raises:
        StillBusy: it takes too long.
    """
    _run("saved", str(store), user, forget_id)


def scrub(store: Path) -> None:
    """Rewrites the files, so that nothing of removed snapshots is left. Blocks.

    Raises:
        StillBusy: Bytewax would have to wait too long. The files are as they were.
    """
    _run("scrub", str(store))


def _run(*arguments: str) -> None:
    command = [sys.executable, "-m", __name__, *arguments]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise StillBusy(done.stderr.strip()[-300:])


# --- in the other process --------------------------------------------------------------------


def _wait_until_saved(store: Path, user: str, forget_id: str) -> None:
    deadline = time.monotonic() + SAVED_WITHIN_S
    while not is_saved(store, user, forget_id):
        if time.monotonic() > deadline:
            raise StillBusy("the dataflow has not saved its state")
        time.sleep(LOOK_EVERY_S)


def is_saved(store: Path, user: str, forget_id: str) -> bool:
    """Whether all snapshots of a user are newer than the event with this id, and there is one."""
    found = [saved for part in _parts(store) for saved in _snapshots(part, user)]
    return bool(found) and all(forget_id.encode() in saved for saved in found)


def _snapshots(part: Path, user: str) -> list[bytes]:
    with closing(_connection(part)) as connection:
        rows = connection.execute(
            "SELECT ser_change FROM snaps WHERE step_id = ? AND state_key = ?"
            " AND ser_change IS NOT NULL",  # NULL: it was evicted then
            (STEP, user),
        )
        return [saved for (saved,) in rows]


def _scrub(store: Path) -> None:
    for part in _parts(store):
        with closing(_connection(part)) as connection:
            until = time.monotonic() + LOCKED_AT_MOST_S
            connection.set_progress_handler(partial(_is_over, until), _CHECK_EVERY)
            connection.execute("VACUUM")
            connection.set_progress_handler(None, 0)
            empty_log(connection)


def _is_over(until: float) -> bool:
    return time.monotonic() > until


def empty_log(connection: sqlite3.Connection) -> None:
    """Moves everything from the write-ahead log into the file, and truncates the log.

    Raises:
        StillBusy: the log is in use.
    """
    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StillBusy("the write-ahead log is in use")


def _parts(store: Path) -> Iterator[Path]:
    return iter(sorted(store.glob("part-*.sqlite3")))


def _connection(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_S, isolation_level=None
    )


def _main(what: str, store: str, *more: str) -> int:
    try:
        if what == "saved":
            _wait_until_saved(Path(store), *more)
        else:
            _scrub(Path(store))
    except (StillBusy, sqlite3.Error) as error:
        sys.stderr.write(str(error))
        return _STILL_BUSY
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
