"""Makes the files of the recovery store, all or none of them. Bytewax reads and writes them.

Bytewax syncs each transaction, so a power cut costs at most the last epoch. A broken store is set
aside as a whole: if only some files were replaced, conversations would not match the position from
which the stream is read. A store must never be deleted.
"""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bytewax.recovery import init_db_dir

from dataflow.eviction.store import FILE as EVICTED_FILE
from dataflow.eviction.store import TABLES as EVICTED_TABLES
from shared import lifecycle, sqlite_errors
from shared.private_file import make_folder, sync_folder

PARTITIONS: Final = 4
"""Files of the recovery store, fixed when it is made. A cluster of more processes shares them."""

CACHE_PAGES: Final = 128
"""Cached pages of 4 KiB per file. SQLite's default of 2 MB makes nothing faster."""

TABLES: Final = frozenset({"parts", "exs", "fronts", "commits", "snaps"})
"""The tables that Bytewax makes in each file."""

NEEDED_BYTES: Final = 1 << 20
"""Free space that is needed: on a full disk Bytewax panics after making some of the files. Four
empty files take 0.1 MB."""


class CannotMake(Exception):
    """The recovery store cannot be made."""

    def __init__(self, store: Path, why: object) -> None:
        super().__init__(
            f"{store} cannot be created: {why}. "
            "Free some space on the disk, and let this user write there."
        )


class BrokenInCluster(Exception):
    """A store that processes of a cluster share is broken. One of them must not replace it."""

    def __init__(self, store: Path, why: str) -> None:
        super().__init__(
            f"{store} is broken ({why}). Stop all processes of the cluster, move away the recovery "
            "folder of each, and start again: the conversations are then read from the stream, as "
            "far back as it goes."
        )


def recovery_store(home: Path, *, alone: bool = True) -> Path:
    """The recovery store of a data folder, made on first use.

    A broken store is set aside, and an empty one is made: the dataflow then reads the stream from
    its beginning. `alone`: no other process of a cluster uses the store.

    Raises:
        CannotMake: for example, the disk is full. No files are left behind.
        BrokenInCluster: it is broken, and other processes use it.
    """
    store = home / "dataflow" / "recovery"
    try:
        if any(store.glob("*.sqlite3")) and (why := _fault(store)):
            if not alone:
                raise BrokenInCluster(store, why)
            set_aside(store, why)
        if not any(store.glob("*.sqlite3")):
            _make(store)
    except (OSError, sqlite3.Error) as error:
        raise CannotMake(store, error) from error
    return store


def set_aside(store: Path, why: str) -> None:
    """Renames a broken store and reports it. A process that has its files open must then end.

    Raises:
        OSError: it cannot be renamed.
    """
    number = 1
    while (aside := store.with_name(f"{store.name}.broken-{number}")).exists():
        number += 1
    store.rename(aside)
    sync_folder(store.parent)
    lifecycle.say(
        f"{store} is broken ({why}): set aside as {aside.name}. The conversations are read again "
        "from the stream, as far back as it goes; older messages are no longer remembered."
    )


def _fault(store: Path) -> str:
    """The fault of the store; empty if none was found."""
    for number in range(PARTITIONS):
        part = store / f"part-{number}.sqlite3"
        if why := sqlite_errors.fault(part, TABLES):
            return f"{part.name}: {why}"
    evicted = store / EVICTED_FILE
    # It may hold a million conversations. Faults elsewhere in it show when one of them is read.
    why = sqlite_errors.fault(evicted, EVICTED_TABLES, whole=False) if evicted.exists() else ""
    return why and f"{evicted.name}: {why}"


def _make(store: Path) -> None:
    make_folder(store.parent)
    if shutil.disk_usage(store.parent).free < NEEDED_BYTES:
        raise OSError("the disk is full")
    with TemporaryDirectory(dir=store.parent, prefix="recovery-") as folder:
        made = Path(folder)
        init_db_dir(made, PARTITIONS)  # type: ignore[no-untyped-call]
        for part in made.glob("*.sqlite3"):
            with closing(sqlite3.connect(part)) as connection:
                # Deprecated, but the only cache-size setting that is stored in the file. Bytewax
                # opens the file itself, so we cannot set it per connection.
                connection.execute(f"PRAGMA default_cache_size = {CACHE_PAGES}")
        for old in (*store.glob(f"{EVICTED_FILE}*"), *store.glob("*.sqlite3-*")):
            # The stream is read again from its beginning, so no older state may remain.
            old.unlink()
        sync_folder(made)
        made.rename(store)
        sync_folder(store.parent)
