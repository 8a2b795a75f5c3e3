"""`threadwax doctor`: checks the recorder's database.

Changes nothing: an empty database stays empty. It must never print a password.
"""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from ops.finding import CheckContext, Finding
from shared.bus import Bus
from shared.settings import Settings

BEHIND: Final = timedelta(minutes=5)
"""A recorder that works is behind by a second."""

START: Final = "start `threadwax up` or `threadwax recorder`"


async def database(context: CheckContext) -> list[Finding]:
    """Checks that the database answers, and how far it has been written."""
    if context.settings.recorder == "off":
        return [Finding("ok", "database", "not used: THREADWAX_RECORDER is off")]
    newest = None if context.bus is None else await _newest(context.bus)
    return [await asyncio.to_thread(_finding, context.settings, newest)]


async def _newest(bus: Bus) -> datetime | None:
    """When the newest event was stored; None if there is none, or the server does not tell."""
    import nats.errors
    import nats.js.errors

    from shared import names

    try:
        state = (await bus.js.stream_info(names.PROMPTS)).state
        if not state.messages:
            return None
        message = await bus.js.get_msg(names.PROMPTS, state.last_seq)
    except (nats.errors.Error, nats.js.errors.Error, TimeoutError):
        return None
    return message.time


def _finding(settings: Settings, newest: datetime | None) -> Finding:
    import sqlalchemy as sa

    from shared import names
    from shared.database.engine import (
        BadDatabaseUrl,
        database_url,
        engine_of,
        without_password,
    )
    from shared.database.tables import positions

    try:
        url = database_url(settings)
    except BadDatabaseUrl as error:
        return Finding("fail", "database", "DATABASE_URL cannot be used", str(error))
    where = without_password(url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return Finding("warn", "database", f"{where}: does not exist yet", START)
    engine = engine_of(url)
    try:
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table(positions.name):
                return Finding("warn", "database", f"{where}: has no tables yet", START)
            recorded = connection.execute(
                sa.select(positions.c.stored_at).where(positions.c.stream == names.PROMPTS)
            ).scalar()
    except (sa.exc.SQLAlchemyError, OSError) as error:
        why = str(getattr(error, "orig", error)).split("\n", 1)[0]
        advice = "check DATABASE_URL and the server; people get their answers anyway"
        return Finding("warn", "database", f"{where} cannot be used: {why}", advice)
    finally:
        engine.dispose()
    if newest is not None and (recorded is None or newest - recorded > BEHIND):
        since = "nothing" if recorded is None else f"up to {recorded:%Y-%m-%d %H:%M} UTC"
        return Finding("warn", "database", f"{where}: {since} is recorded", START)
    return Finding("ok", "database", where)
