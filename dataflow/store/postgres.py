"""The store of several machines: tables in the PostgreSQL database that DATABASE_URL names.

It must never report a write that the server has not committed, nor show a password.
"""

import json
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import psycopg

from dataflow.store.server_connection import Connection, ServerConnection
from dataflow.store.store import (
    POSITION,
    CannotOpen,
    Claim,
    Imported,
    OtherPartitionCount,
    Row,
    Write,
)

NOT_ALLOWED: Final = (
    "the tables of conversations cannot be made in {name}: {why}. Let this user create tables in "
    "its schema: GRANT CREATE ON SCHEMA public TO ..."
)

IMPORTED_WITHIN_S: Final = 3600.0

_AT_ONCE: Final = 500
"""Conversations of one statement."""

_SETUP_LOCK: Final = 0x74687264
"""The advisory lock under which the tables are made: `IF NOT EXISTS` alone can fail in a race."""

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS dataflow_store (identity text NOT NULL, partitions int NOT NULL);
CREATE TABLE IF NOT EXISTS dataflow_partitions (
    number int PRIMARY KEY, holder text NOT NULL, epoch bigint NOT NULL, position text NOT NULL,
    released_by text NOT NULL, answering text NOT NULL
);
CREATE TABLE IF NOT EXISTS dataflow_conversations (
    user_id text PRIMARY KEY, partition int NOT NULL, has_work bool NOT NULL, saved bytea NOT NULL
);
CREATE INDEX IF NOT EXISTS dataflow_conversations_with_work
    ON dataflow_conversations (partition) WHERE has_work;
CREATE INDEX IF NOT EXISTS dataflow_conversations_of_partition
    ON dataflow_conversations (partition, user_id);
CREATE TABLE IF NOT EXISTS dataflow_place_budgets (budget text PRIMARY KEY, saved bytea NOT NULL);
"""

TABLES: Final = (
    "dataflow_store",
    "dataflow_partitions",
    "dataflow_conversations",
    "dataflow_place_budgets",
)

_CLAIMS: Final = (
    "SELECT number, holder, epoch, position, released_by, answering FROM dataflow_partitions"
)

_CLAIM: Final = """
WITH wanted AS (
    SELECT p.* FROM dataflow_partitions p
    JOIN unnest(%b::int[], %b::bigint[]) AS w (number, epoch) USING (number, epoch)
    ORDER BY number FOR UPDATE OF p
), claimed AS (
    UPDATE dataflow_partitions p
    SET holder = %b, epoch = p.epoch + 1, released_by = '', answering = '[]'
    FROM wanted WHERE p.number = wanted.number RETURNING p.number, p.holder, p.epoch
)
SELECT number, claimed.holder, claimed.epoch, position, released_by, answering
FROM claimed JOIN wanted USING (number)
"""

_FENCE: Final = """
UPDATE dataflow_partitions SET holder = %b, position = %b, released_by = %b, answering = %b
WHERE number = %b AND epoch = %b
"""

# Parameters are sent in binary form: as text, 500 conversations of 5 kB took four times as long.
_PUT: Final = """
INSERT INTO dataflow_conversations (user_id, partition, has_work, saved)
SELECT user_id, %b, has_work, saved
FROM unnest(%b::text[], %b::bool[], %b::bytea[]) AS rows (user_id, has_work, saved)
ON CONFLICT (user_id) DO UPDATE SET has_work = excluded.has_work, saved = excluded.saved
"""

_PUT_PLACE: Final = (
    "INSERT INTO dataflow_place_budgets VALUES (%b, %b)"
    " ON CONFLICT (budget) DO UPDATE SET saved = excluded.saved"
)

_USED: Final = (
    "SELECT EXISTS (SELECT FROM dataflow_partitions WHERE epoch > 0 OR position <> '{}')"
    " OR EXISTS (SELECT FROM dataflow_conversations)"
)


class PostgresStore:
    """The tables, over one connection for writing and one for reading."""

    def __init__(self, conninfo: str, name: str) -> None:
        """Connects to nothing yet. `name` is the address without the password."""
        self.name = name
        self.identity = ""
        self._writing = ServerConnection(conninfo)
        self._reading = ServerConnection(conninfo)

    async def open(self, partitions: int) -> None:
        """Makes the tables if they are missing; see `Store.open`."""

        async def make(connection: Connection) -> tuple[str, int]:
            await connection.execute("SELECT pg_advisory_xact_lock(%b)", (_SETUP_LOCK,))
            await connection.execute(SCHEMA)
            cursor = await connection.execute("SELECT identity, partitions FROM dataflow_store")
            found = await cursor.fetchone()
            if found is None:
                found = secrets.token_hex(8), partitions
                await connection.execute("INSERT INTO dataflow_store VALUES (%s, %s)", found)
                await connection.execute(
                    "INSERT INTO dataflow_partitions"
                    " SELECT n, '', 0, '{}', '', '[]' FROM generate_series(0, %s - 1) AS n",
                    (partitions,),
                )
            return found[0], found[1]

        try:
            self.identity, stored = await self._writing.call(make)
        except psycopg.errors.InsufficientPrivilege as error:
            raise CannotOpen(NOT_ALLOWED.format(name=self.name, why=error.diag.message_primary)
                             ) from error  # fmt: skip
        if stored != partitions:
            raise OtherPartitionCount(stored, partitions)

    async def claims(self) -> dict[int, Claim]:
        """See `Store.claims`."""
        try:
            return _claims(await self._reading.rows(_CLAIMS))
        except psycopg.errors.UndefinedTable:
            return {}  # no process has used this database

    async def claim(self, member: str, epochs: Mapping[int, int]) -> dict[int, Claim]:
        """See `Store.claim`."""
        parameters = (list(epochs), list(epochs.values()), member)
        return _claims(await self._writing.rows(_CLAIM, parameters))

    async def write(self, writes: Sequence[Write]) -> set[int]:
        """See `Store.write`."""

        async def write(connection: Connection) -> set[int]:
            refused = set()
            # In one order everywhere, so that two processes cannot wait for each other.
            for one in sorted(writes, key=lambda write: write.partition):
                if await _fence(connection, one):
                    await _put(connection, one.partition, one.rows)
                else:
                    refused.add(one.partition)
            return refused

        return await self._writing.call(write)

    async def get(self, users: Collection[str]) -> dict[str, bytes]:
        """See `Store.get`."""
        chosen = "SELECT user_id, saved FROM dataflow_conversations WHERE user_id = ANY(%b)"
        return dict(await self._reading.rows(chosen, (list(users),)))

    async def with_work(self, partition: int) -> list[Row]:
        """See `Store.with_work`."""
        return await self._rows("partition = %b AND has_work ORDER BY user_id", partition)

    async def after(self, partition: int, user: str, limit: int) -> list[Row]:
        """See `Store.after`."""
        chosen = "partition = %b AND user_id > %b ORDER BY user_id LIMIT %b"
        return await self._rows(chosen, partition, user, limit)

    async def _rows(self, chosen: str, *parameters: object) -> list[Row]:
        rows = await self._reading.rows(
            f"SELECT user_id, saved, has_work FROM dataflow_conversations WHERE {chosen}",  # noqa: S608
            parameters,
        )
        return [Row(*row) for row in rows]

    async def change_place(self, budget: str, change: Callable[[bytes | None], bytes]) -> None:
        """See `Store.change_place`."""

        async def change_it(connection: Connection) -> None:
            # The lock is also held where there is no row yet.
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", (budget, _SETUP_LOCK)
            )
            cursor = await connection.execute(
                "SELECT saved FROM dataflow_place_budgets WHERE budget = %b", (budget,), binary=True
            )
            found = await cursor.fetchone()
            saved = change(None if found is None else found[0])
            await connection.execute(_PUT_PLACE, (budget, saved))

        await self._writing.call(change_it)

    async def import_older(self, older: Iterable[Imported]) -> bool:
        """See `Store.import_older`."""

        async def write(connection: Connection) -> bool:
            await connection.execute("SELECT pg_advisory_xact_lock(%b)", (_SETUP_LOCK,))
            used = await (await connection.execute(_USED)).fetchone()
            if used is None or used[0]:
                return False
            for part in older:
                await _import(connection, part)
            return True

        return await self._writing.call(write, within_s=IMPORTED_WITHIN_S)

    async def scrub(self) -> None:
        """Lets new rows overwrite the old bytes. The server's own log keeps them for a while."""
        await self._writing.vacuum("dataflow_conversations")

    async def close(self) -> None:
        """Closes both connections."""
        await self._writing.close()
        await self._reading.close()


async def _fence(connection: Connection, one: Write) -> bool:
    """Whether the partition is still held by the writer; then nobody can claim it meanwhile."""
    holder, by = ("", one.holder) if one.release else (one.holder, "")
    position = POSITION.dump_json(one.position).decode()
    answering = json.dumps(sorted(one.answering))
    done = await connection.execute(
        _FENCE, (holder, position, by, answering, one.partition, one.epoch)
    )
    return done.rowcount == 1


async def _put(connection: Connection, partition: int, rows: Sequence[Row]) -> None:
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        users = [row.user for row in some]
        values = users, [row.has_work for row in some], [row.saved for row in some]
        await connection.execute(_PUT, (partition, *values))


async def _import(connection: Connection, part: Imported) -> None:
    for number, position in part.positions.items():
        await connection.execute(
            "UPDATE dataflow_partitions SET position = %b WHERE number = %b",
            (POSITION.dump_json(position).decode(), number),
        )
    for budget, saved in part.places.items():
        await connection.execute(_PUT_PLACE, (budget, saved))
    by_partition: dict[int, list[Row]] = {}
    for number, row in part.rows:
        by_partition.setdefault(number, []).append(row)
    for number, rows in by_partition.items():
        await _put(connection, number, rows)


def _claims(rows: list[tuple[Any, ...]]) -> dict[int, Claim]:
    return {
        number: Claim(
            holder, epoch, POSITION.validate_json(position), by, frozenset(json.loads(answering))
        )
        for number, holder, epoch, position, by, answering in rows
    }
