"""One connection to PostgreSQL, made again after a failure.

It must never show a password.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import psycopg

from dataflow.store.store import StoreAway

T = TypeVar("T")
Connection = psycopg.AsyncConnection[Any]

CONNECT_S: Final = 3

ANSWERS_WITHIN_S: Final = 10.0
"""A call that takes longer counts as failed: a cut network says nothing."""


class ServerConnection:
    """Used by one call at a time."""

    def __init__(self, conninfo: str) -> None:
        """Connects to nothing yet."""
        self._conninfo = conninfo
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()

    async def call(
        self, call: Callable[[Connection], Awaitable[T]], within_s: float | None = None
    ) -> T:
        """Calls it in a transaction.

        Raises:
            StoreAway: the server does not answer. It may have committed.
        """

        async def in_transaction(connection: Connection) -> T:
            async with connection.transaction():
                return await call(connection)

        return await self._use(in_transaction, within_s)

    async def rows(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        """The rows of one statement, in binary form."""

        async def fetch(connection: Connection) -> list[Any]:
            cursor = await connection.execute(statement, parameters, binary=True)
            return await cursor.fetchall()

        return await self._use(fetch)

    async def vacuum(self, table: str) -> None:
        """Cannot be in a transaction."""

        async def run(connection: Connection) -> None:
            await connection.execute(f"VACUUM {table}")

        await self._use(run)

    async def _use(
        self, call: Callable[[Connection], Awaitable[T]], within_s: float | None = None
    ) -> T:
        async with self._turn:
            try:
                async with asyncio.timeout(within_s or ANSWERS_WITHIN_S):
                    return await call(await self._connected())
            except (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError) as error:
                await self._drop()
                why = " ".join(str(error).split()) or "no answer in time"
                raise StoreAway(f"PostgreSQL: {why}") from error
            except asyncio.CancelledError:
                await self._drop()  # it may be in the middle of a statement
                raise

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._conninfo,
                autocommit=True,
                connect_timeout=CONNECT_S,
                application_name="threadwax dataflow",
                tcp_user_timeout=int(ANSWERS_WITHIN_S * 1000),
            )
        return self._connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def close(self) -> None:
        """Closes it, after its last call."""
        async with self._turn:
            await self._drop()
