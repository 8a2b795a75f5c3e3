"""The recovery store's files: made all together or not at all. Bytewax reads and writes them.

It must never make a new one beside files that hold conversations.
"""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bytewax.recovery import init_db_dir

from dataflow import at_rest

PARTITIONS: Final = 4
"""Files of the recovery store. Fixed at its creation; more processes than this share them."""

CACHE_PAGES: Final = 128
"""Of 4 KiB, in memory for each file. SQLite's own 2 MB went on filling for long, and gave no more
answers: 5000 in flight, four runs each in turns."""

ROOM_BYTES: Final = 1 << 20
"""Four empty files take 0.1 MB. On a full disk Bytewax panics, with some of them made."""


class CannotMake(Exception):  # noqa: N818  (named by what it is about, as all our errors)
    """There is no recovery store, and none can be made."""

    def __init__(self, store: Path, why: object) -> None:
        super().__init__(
            f"{store} cannot be made: {why}. Make room on the disk, and see that this user may "
            "write there."
        )


def recovery_store(home: Path) -> Path:
    """The recovery store of a data folder, made on first use.

    Raises:
        CannotMake: for example, the disk is full; nothing of it is left there.
    """
    store = home / "dataflow" / "recovery"
    if not any(store.glob("*.sqlite3")):
        try:
            _make(store)
        except (OSError, sqlite3.Error) as error:
            raise CannotMake(store, error) from error
    return store


def _make(store: Path) -> None:
    store.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if shutil.disk_usage(store.parent).free < ROOM_BYTES:
        raise OSError("the disk is full")
    with TemporaryDirectory(dir=store.parent, prefix="recovery-") as folder:
        made = Path(folder)
        init_db_dir(made, PARTITIONS)  # type: ignore[no-untyped-call]
        for part in made.glob("*.sqlite3"):
            with closing(sqlite3.connect(part)) as connection:
                # Deprecated, and the only one that a file keeps: Bytewax opens it by itself.
                connection.execute(f"PRAGMA default_cache_size = {CACHE_PAGES}")
        for left_over in (*store.glob(f"{at_rest.FILE}*"), *store.glob("*.sqlite3-*")):
            # Everything is read again from the stream, onto nothing.
            left_over.unlink()
        made.rename(store)
