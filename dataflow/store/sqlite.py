"""The store of one machine: a SQLite file in the data folder, shared by all its processes.

Every transaction is on the disk when it is reported. It must never be used over a network file
system, whose locks SQLite cannot rely on.
"""

import asyncio
import json
import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from dataflow.store.file_connection import BUSY_S, FileConnection
from dataflow.store.store import (
    POSITION,
    Claim,
    Imported,
    OtherPartitionCount,
    Row,
    StoreAway,
    Write,
)
from shared.private_file import make_folder
from shared.sqlite_errors import is_broken
from shared.write_ahead import use_write_ahead_log

T = TypeVar("T")

FILE: Final = Path("dataflow") / "conversations.db"
"""In the data folder."""

TABLES: Final = frozenset({"store", "partitions", "conversations", "place_budgets"})

SCRUB_AGAIN_S: Final = 0.1
SCRUB_WITHIN_S: Final = 5.0

_AT_ONCE: Final = 500
"""Parameters of one statement; SQLite's limit was 999 for long."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS store (identity TEXT NOT NULL, partitions INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS partitions (
    number INTEGER PRIMARY KEY, holder TEXT NOT NULL, epoch INTEGER NOT NULL,
    position TEXT NOT NULL, released_by TEXT NOT NULL, answering TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS conversations (
    user TEXT PRIMARY KEY, partition INTEGER NOT NULL, has_work INTEGER NOT NULL,
    saved BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS conversations_with_work ON conversations (partition) WHERE has_work;
CREATE INDEX IF NOT EXISTS conversations_of_partition ON conversations (partition, user);
CREATE TABLE IF NOT EXISTS place_budgets (budget TEXT PRIMARY KEY, saved BLOB NOT NULL) STRICT;
"""

_PUT: Final = (
    "INSERT INTO conversations VALUES (?, ?, ?, ?) ON CONFLICT (user) DO UPDATE"
    " SET has_work = excluded.has_work, saved = excluded.saved"
)
_USED: Final = (
    "SELECT EXISTS (SELECT * FROM partitions WHERE epoch > 0 OR position <> '{}')"
    " OR EXISTS (SELECT * FROM conversations)"
)

OnBroken = Callable[[sqlite3.Error], NoReturn]
"""Called if the file is damaged: it ends the process."""


class SqliteStore:
    """The file, with one thread that writes and one that reads."""

    def __init__(self, file: Path, on_broken: OnBroken | None = None) -> None:
        """Opens nothing yet."""
        self.name = str(file)
        self.identity = ""
        self._file = file
        self._on_broken = on_broken
        self._writer = FileConnection(file)
        self._reader = FileConnection(file)

    async def open(self, partitions: int) -> None:
        """Makes the file and its tables if they are missing; see `Store.open`."""
        make_folder(self._file.parent)

        def make(connection: sqlite3.Connection) -> tuple[str, int]:
            use_write_ahead_log(connection, within_s=BUSY_S)
            connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}")
            found = connection.execute("SELECT identity, partitions FROM store").fetchone()
            if found is None:
                found = secrets.token_hex(8), partitions
                connection.execute("INSERT INTO store VALUES (?, ?)", found)
                connection.executemany(
                    "INSERT INTO partitions VALUES (?, '', 0, '{}', '', '[]')",
                    [(number,) for number in range(partitions)],
                )
            identity, count = found
            return identity, count

        self.identity, stored = await self._call(self._writer, make)
        if stored != partitions:
            raise OtherPartitionCount(stored, partitions)

    async def claims(self) -> dict[int, Claim]:
        """See `Store.claims`."""
        return await self._call(self._reader, _claims)

    async def claim(self, member: str, epochs: Mapping[int, int]) -> dict[int, Claim]:
        """See `Store.claim`."""

        def claim(connection: sqlite3.Connection) -> dict[int, Claim]:
            connection.execute("BEGIN IMMEDIATE")
            before = _claims(connection)
            won = {number: claim for number, claim in before.items()
                   if claim.epoch == epochs.get(number)}  # fmt: skip
            connection.executemany(
                "UPDATE partitions SET holder = ?, epoch = epoch + 1, released_by = '',"
                " answering = '[]' WHERE number = ?",
                [(member, number) for number in won],
            )
            return {number: Claim(member, one.epoch + 1, one.position, one.released_by,
                                  one.answering) for number, one in won.items()}  # fmt: skip

        return await self._call(self._writer, claim)

    async def write(self, writes: Sequence[Write]) -> set[int]:
        """See `Store.write`."""

        def write(connection: sqlite3.Connection) -> set[int]:
            connection.execute("BEGIN IMMEDIATE")
            refused = set()
            for one in writes:
                position = POSITION.dump_json(one.position).decode()
                holder, by = ("", one.holder) if one.release else (one.holder, "")
                answering = json.dumps(sorted(one.answering))
                mine = connection.execute(
                    "UPDATE partitions SET holder = ?, position = ?, released_by = ?,"
                    " answering = ? WHERE number = ? AND epoch = ?",
                    (holder, position, by, answering, one.partition, one.epoch),
                )
                if not mine.rowcount:
                    refused.add(one.partition)
                    continue
                connection.executemany(
                    _PUT,
                    [(row.user, one.partition, row.has_work, row.saved) for row in one.rows],
                )
            return refused

        return await self._call(self._writer, write)

    async def get(self, users: Collection[str]) -> dict[str, bytes]:
        """See `Store.get`."""
        names = list(users)

        def read(connection: sqlite3.Connection) -> dict[str, bytes]:
            found: dict[str, bytes] = {}
            for start in range(0, len(names), _AT_ONCE):
                some = names[start : start + _AT_ONCE]
                marks = ",".join("?" * len(some))
                found |= connection.execute(
                    f"SELECT user, saved FROM conversations WHERE user IN ({marks})",  # noqa: S608
                    some,
                )
            return found

        return await self._call(self._reader, read)

    async def with_work(self, partition: int) -> list[Row]:
        """See `Store.with_work`."""
        return await self._rows("partition = ? AND has_work ORDER BY user", partition)

    async def after(self, partition: int, user: str, limit: int) -> list[Row]:
        """See `Store.after`."""
        chosen = "partition = ? AND user > ? ORDER BY user LIMIT ?"
        return await self._rows(chosen, partition, user, limit)

    async def _rows(self, chosen: str, *parameters: object) -> list[Row]:
        def read(connection: sqlite3.Connection) -> list[Row]:
            rows = connection.execute(
                f"SELECT user, saved, has_work FROM conversations WHERE {chosen}",  # noqa: S608
                parameters,
            )
            return [Row(user, saved, bool(has_work)) for user, saved, has_work in rows]

        return await self._call(self._reader, read)

    async def change_place(self, budget: str, change: Callable[[bytes | None], bytes]) -> None:
        """See `Store.change_place`."""

        def change_it(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            chosen = "SELECT saved FROM place_budgets WHERE budget = ?"
            found = connection.execute(chosen, (budget,)).fetchone()
            saved = change(None if found is None else found[0])
            connection.execute("INSERT OR REPLACE INTO place_budgets VALUES (?, ?)",
                               (budget, saved))  # fmt: skip

        await self._call(self._writer, change_it)

    async def import_older(self, older: Iterable[Imported]) -> bool:
        """See `Store.import_older`."""

        def write(connection: sqlite3.Connection) -> bool:
            connection.execute("BEGIN IMMEDIATE")
            (used,) = connection.execute(_USED).fetchone()
            if used:
                return False
            for part in older:
                positions = [
                    (POSITION.dump_json(at).decode(), n) for n, at in part.positions.items()
                ]
                connection.executemany("UPDATE partitions SET position = ? WHERE number = ?",
                                       positions)  # fmt: skip
                connection.executemany("INSERT INTO place_budgets VALUES (?, ?)",
                                       part.places.items())  # fmt: skip
                connection.executemany(
                    _PUT, [(row.user, n, row.has_work, row.saved) for n, row in part.rows]
                )
            return True

        return await self._call(self._writer, write)

    async def scrub(self) -> None:
        """Overwritten pages are zeroed at once; this empties the log, which has older versions."""
        deadline = asyncio.get_running_loop().time() + SCRUB_WITHIN_S

        def empty(connection: sqlite3.Connection) -> bool:
            (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return bool(busy)

        while await self._call(self._writer, empty):
            if asyncio.get_running_loop().time() > deadline:
                raise StoreAway("the write-ahead log is in use")
            await asyncio.sleep(SCRUB_AGAIN_S)

    async def close(self) -> None:
        """Closes both connections, each after its last call."""
        await self._writer.close()
        await self._reader.close()

    async def _call(self, on: FileConnection, call: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await on.call(call)
        except sqlite3.Error as error:
            if is_broken(error) and self._on_broken is not None:
                self._on_broken(error)
            raise StoreAway(f"{self._file}: {error}") from error


def _claims(connection: sqlite3.Connection) -> dict[int, Claim]:
    with closing(
        connection.execute(
            "SELECT number, holder, epoch, position, released_by, answering FROM partitions"
        )
    ) as found:
        return {
            number: Claim(
                holder, epoch, POSITION.validate_json(position), by,
                frozenset(json.loads(answering)),
            )
            for number, holder, epoch, position, by, answering in found
        }  # fmt: skip
