"""The recovery store's files: made all together or not at all. Bytewax reads and writes them.

Bytewax syncs each of its transactions, so a power cut takes at most the last epoch. A store that is
broken anyway is set aside whole: with some of its files replaced, conversations would be at one
point of the stream and the place from which it is read at another. A store must never be deleted.
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
"""Files of the recovery store. Fixed at its creation; more processes than this share them."""

CACHE_PAGES: Final = 128
"""Of 4 KiB, in memory for each file. SQLite's own 2 MB went on filling for long, and gave no more
answers: 5000 in flight, four runs each in turns."""

TABLES: Final = frozenset({"parts", "exs", "fronts", "commits", "snaps"})
"""Of Bytewax's own, in each file."""

ROOM_BYTES: Final = 1 << 20
"""Four empty files take 0.1 MB. On a full disk Bytewax panics, with some of them made."""


class CannotMake(Exception):
    """There is no recovery store, and none can be made."""

    def __init__(self, store: Path, why: object) -> None:
        super().__init__(
            f"{store} cannot be made: {why}. Make room on the disk, and see that this user may "
            "write there."
        )


class BrokenInCluster(Exception):
    """A store is broken that processes of a cluster share: one of them must not replace it."""

    def __init__(self, store: Path, why: str) -> None:
        super().__init__(
            f"{store} is broken ({why}). Stop every process of the cluster, move the recovery "
            "folders of all of them away and start again: the stream holds what they held, as far "
            "back as it goes."
        )


def recovery_store(home: Path, *, alone: bool = True) -> Path:
    """The recovery store of a data folder, made on first use.

    One that is broken is set aside, and an empty one made: the flow then reads the stream from its
    beginning. `alone`: no other process uses the store, as it is in a cluster.

    Raises:
        CannotMake: for example, the disk is full; nothing of it is left there.
        BrokenInCluster: it is broken and not used alone.
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
    """Renames a broken store and says so. Its files may be open: whoever has them must end.

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
        "from the stream, as far back as it goes; what is older is no longer remembered."
    )


def _fault(store: Path) -> str:
    """What is wrong with the store; empty if nothing is known."""
    for number in range(PARTITIONS):
        part = store / f"part-{number}.sqlite3"
        if why := sqlite_errors.fault(part, TABLES):
            return f"{part.name}: {why}"
    evicted = store / EVICTED_FILE
    # It may hold a million conversations; a fault further in shows when one of them is read.
    why = sqlite_errors.fault(evicted, EVICTED_TABLES, whole=False) if evicted.exists() else ""
    return why and f"{evicted.name}: {why}"


def _make(store: Path) -> None:
    make_folder(store.parent)
    if shutil.disk_usage(store.parent).free < ROOM_BYTES:
        raise OSError("the disk is full")
    with TemporaryDirectory(dir=store.parent, prefix="recovery-") as folder:
        made = Path(folder)
        init_db_dir(made, PARTITIONS)  # type: ignore[no-untyped-call]
        for part in made.glob("*.sqlite3"):
            with closing(sqlite3.connect(part)) as connection:
                # Deprecated, but the only cache-size setting that is stored in the file. Bytewax
                # opens the file itself, so we cannot set it per connection.
                connection.execute(f"PRAGMA default_cache_size = {CACHE_PAGES}")
        for left_over in (*store.glob(f"{EVICTED_FILE}*"), *store.glob("*.sqlite3-*")):
            # The stream is read again from its beginning: nothing of an earlier store may remain.
            left_over.unlink()
        sync_folder(made)
        made.rename(store)
        sync_folder(store.parent)
