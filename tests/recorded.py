"""The contents of a database, for comparisons."""

import asyncio
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from shared.database.tables import metadata

NOT_COMPARED = frozenset({"positions", "early_receipts"})
"""What depends on the order in which the streams were read, and nobody reads."""


def dump(engine: sa.Engine) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables, in the order of their keys."""
    with engine.connect() as connection:
        return {
            table.name: [
                dict(row)
                for row in connection.execute(
                    table.select().order_by(*table.primary_key.columns)
                ).mappings()
            ]
            for table in metadata.sorted_tables
            if table.name not in NOT_COMPARED
        }


Rows = dict[str, list[dict[str, Any]]]


async def until_recorded(
    engine: sa.Engine, done: Callable[[Rows], bool], *, within_s: float = 60.0
) -> Rows:
    """All rows, as soon as they are as wanted."""
    rows: Rows = {}
    try:
        async with asyncio.timeout(within_s):
            while True:
                if await asyncio.to_thread(_has_tables, engine):
                    rows = await asyncio.to_thread(dump, engine)
                    if done(rows):
                        return rows
                await asyncio.sleep(0.1)
    except TimeoutError:
        counts = {table: len(found) for table, found in rows.items()}
        raise AssertionError(f"recorded within {within_s} s: {counts}") from None


def _has_tables(engine: sa.Engine) -> bool:
    try:
        return sa.inspect(engine).has_table("positions")
    except sa.exc.OperationalError:  # the server has just come back
        return False
