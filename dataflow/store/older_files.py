"""Moves conversations from the files of older versions into the store, once.

Older versions kept them in files of Bytewax's recovery store and, if they were idle, in a file of
evicted ones. The files stay, renamed, until somebody is forgotten: whatever is in them is in the
store, too. It must never overwrite what the store has.
"""

import asyncio
import io
import os
import pickle
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from dataflow.snapshot import SNAPSHOT
from dataflow.store.machine_file import DAMAGED, reading
from dataflow.store.store import CannotOpen, Imported, Row, Store
from shared import lifecycle
from shared.follow import Position
from shared.lock import AlreadyRunning, locked
from shared.log import logger
from shared.partitioning import partition_of
from shared.private_file import sync_folder

FOLDER: Final = Path("dataflow") / "recovery"
MIGRATED: Final = Path("dataflow") / "recovery.migrated"
"""In the data folder."""

MOVED_WITHIN_S: Final = 60.0
"""How long a process waits while another one on this machine moves the files."""

AGAIN_S: Final = 0.5

UNREADABLE: Final = "unreadable"
EVICTED: Final = "at_rest.db"

_CONVERSATION: Final = "conversations.conversation"
_EVENTS: Final = "conversations.prompts"
_PLACE: Final = "conversations.place budget"
_AT_ONCE: Final = 500

_SAFE: Final = frozenset({("datetime", "datetime"), ("datetime", "timezone"),
                          ("datetime", "timedelta")})  # fmt: skip
"""All that a snapshot of an older version refers to."""


async def move_older(home: Path, store: Store, partitions: int) -> None:
    """Moves them, if there are any. A crash at any point is harmless: the next start moves them.

    Raises:
        AlreadyRunning: an older version still runs on this data folder.
        CannotOpen, OSError: a file cannot be read; nothing has been moved.
    """
    folder = home / FOLDER
    if not any(folder.glob("part-*.sqlite3")):
        return
    with closing(_NoOlder(home)) as lock:
        await lock.taken()
        if any(folder.glob("part-*.sqlite3")):
            await _move(home, store, partitions)


async def _move(home: Path, store: Store, partitions: int) -> None:
    folder = home / FOLDER
    older = _Older(folder, partitions)
    if await store.import_older(older.imported()):
        lifecycle.say(f"the conversations of an older version are in {store.name} now")
    else:
        logger().warning(
            "older files are not used: the store has conversations", folder=str(folder)
        )
    for kept in (folder / UNREADABLE).glob("*"):
        kept.rename(_made(home / "dataflow" / UNREADABLE) / kept.name)
    shutil.rmtree(home / MIGRATED, ignore_errors=True)
    folder.rename(home / MIGRATED)
    sync_folder(folder.parent)


class _NoOlder:
    """The lock of older versions. Processes of this version hold it only while they move files."""

    def __init__(self, home: Path) -> None:
        self._path = home / "dataflow" / "lock-0"
        self._descriptor: int | None = None

    async def taken(self) -> None:
        """Takes the lock.

        Raises:
            AlreadyRunning: an older version still has it.
        """
        deadline = asyncio.get_running_loop().time() + MOVED_WITHIN_S
        while self._descriptor is None:
            try:
                self._descriptor = locked(self._path, "an older version of the dataflow")
            except AlreadyRunning:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(AGAIN_S)

    def close(self) -> None:
        """Releases it."""
        if self._descriptor is not None:
            os.close(self._descriptor)


def remove_migrated(home: Path) -> None:
    """Removes the files that are not used any more: they have words of people."""
    shutil.rmtree(home / MIGRATED, ignore_errors=True)


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


class _Older:
    """The files of an older version."""

    def __init__(self, folder: Path, partitions: int) -> None:
        self._folder = folder
        self._partitions = partitions

    def imported(self) -> Iterator[Imported]:
        """Everything to be imported; what comes later is newer.

        Raises:
            CannotOpen: a file is damaged. Not an error of the store, which is fine.
        """
        try:
            yield from self._imported()
        except (sqlite3.Error, pickle.UnpicklingError) as error:
            raise CannotOpen(DAMAGED.format(folder=self._folder, why=error)) from error

    def _imported(self) -> Iterator[Imported]:
        evicted = self._folder / EVICTED
        if evicted.exists():
            with closing(reading(evicted)) as connection:
                rows = connection.execute("SELECT user, saved FROM conversations")
                yield from self._conversations(rows)
        states = list(self._states())
        for step, key, state in states:
            if step == _EVENTS:
                yield Imported(positions={int(key): _position(state)})
            elif step == _PLACE:
                yield Imported(places={key: state})
        yield from self._conversations((k, s) for step, k, s in states if step == _CONVERSATION)

    def _conversations(self, rows: Iterable[tuple[str, bytes]]) -> Iterator[Imported]:
        imported = Imported()
        for user, saved in rows:
            row = Row(user, saved, _has_work(saved))
            imported.rows.append((partition_of(user, self._partitions), row))
            if len(imported.rows) == _AT_ONCE:
                yield imported
                imported = Imported()
        yield imported

    def _states(self) -> Iterator[tuple[str, str, Any]]:
        """Step, key and state of everything that a restart of the older version would load."""
        parts = sorted(self._folder.glob("part-*.sqlite3"))
        before = _resume_epoch(parts)
        newest: dict[tuple[str, str], tuple[int, bytes | None]] = {}
        for part in parts:
            with closing(reading(part)) as connection:
                for step, key, epoch, state in connection.execute(
                    "SELECT step_id, state_key, snap_epoch, ser_change FROM snaps"
                    " WHERE snap_epoch < ?",
                    (before,),
                ):
                    if epoch >= newest.get((step, key), (-1, None))[0]:
                        newest[step, key] = epoch, state
        for (step, key), (_, state) in newest.items():
            if state is not None:  # otherwise it was evicted then
                yield step, key, _loaded(state)


def _resume_epoch(parts: list[Path]) -> int:
    """The epoch from which Bytewax would go on: that of the slowest worker of the last run."""
    runs: dict[int, int] = {}
    fronts: dict[int, list[int]] = {}
    for part in parts:
        with closing(reading(part)) as connection:
            runs |= connection.execute("SELECT ex_num, resume_epoch FROM exs")
            for run, front in connection.execute("SELECT ex_num, worker_frontier FROM fronts"):
                fronts.setdefault(run, []).append(front)
    if not runs:
        return 0
    last = max(runs)
    return min(fronts.get(last, [runs[last]]))


def _position(state: Any) -> Position:
    """The fields of a position; the oldest versions stored only the sequence."""
    return Position(**state) if isinstance(state, dict) else Position(state or 0)


def _has_work(saved: bytes) -> bool:
    if b'"pending":[]' in saved and b'"erasing":' not in saved:
        return False
    try:
        snapshot = SNAPSHOT.validate_json(saved)
    except ValueError:
        return False  # it is set aside when its user writes
    return bool(snapshot.pending or snapshot.erasing)


def _loaded(state: bytes) -> Any:
    try:
        return _Safe(io.BytesIO(state)).load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # whatever damaged bytes mean to pickle
        raise pickle.UnpicklingError(f"a state is damaged: {error!r}") from error


class _Safe(pickle.Unpickler):
    """Reads the state of a step without running any code that it names."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _SAFE:
            raise pickle.UnpicklingError(f"{module}.{name} is in no state of ours")
        return super().find_class(module, name)
