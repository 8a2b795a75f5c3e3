"""Erases old words from the database while the recorder runs (THREADWAX_KEEP_DAYS).

It must never keep the recorder waiting for longer than a short transaction.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa

from shared.database.erasing import expire
from shared.log import logger

EVERY_S: Final = 3600.0


def expire_older(engine: sa.Engine, keep_days: int) -> int:
    """Erases what is older than this many days; returns how many rows it changed. Blocks."""
    return expire(engine, datetime.now(UTC) - timedelta(days=keep_days))


async def keep_only(engine: sa.Engine, keep_days: int) -> None:
    """Does so every hour, until it is cancelled; a database that is away is tried again then."""
    while True:
        try:
            changed = await asyncio.to_thread(expire_older, engine, keep_days)
        except sa.exc.SQLAlchemyError as error:
            # Only the kind: the error's text may have what people said.
            logger().warning("old words are not erased yet", why=type(error).__name__)
        else:
            if changed:
                logger().info("erased old words", rows=changed, keep_days=keep_days)
        await asyncio.sleep(EVERY_S)
