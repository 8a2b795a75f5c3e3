"""Erases a user from the database of questions and answers, and lists exports with their words.

The recorder does the same when it reads the request; this does it at once and counts the rows.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from shared.settings import Settings

if TYPE_CHECKING:
    import sqlalchemy as sa


@dataclass(frozen=True, slots=True)
class Export:
    """An export that contains a user's words."""

    path: Path
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Erased:
    """How many rows were erased, by table, and the exports that are left."""

    rows: dict[str, int]
    exports: tuple[Export, ...] = ()


def erase(settings: Settings, user: str, before: datetime) -> Erased:
    """Erases what was stored before that time. Nothing to do if nothing was ever recorded.

    Raises:
        BadDatabaseUrl: DATABASE_URL cannot be used.
        sqlalchemy.exc.SQLAlchemyError: the database does not answer; nothing was erased.
    """
    from shared.database.engine import NoDatabase, reading_engine, writing
    from shared.database.erasing import erase_person, reclaim

    try:
        engine = reading_engine(settings)
    except NoDatabase:
        return Erased({})
    try:
        with writing(engine) as connection:
            rows = erase_person(connection, user, before)
            exports = _exports_with(connection, user)
        reclaim(engine)
    finally:
        engine.dispose()
    return Erased(rows, exports)


def _exports_with(connection: "sa.Connection", user: str) -> tuple[Export, ...]:
    import sqlalchemy as sa

    from shared.database.tables import export_people, exports

    rows = connection.execute(
        sa.select(exports.c.path, exports.c.created_at)
        .join(export_people, export_people.c.export_id == exports.c.id)
        .where(export_people.c.user_id == user)
        .order_by(exports.c.created_at, exports.c.path)
    )
    return tuple(Export(Path(path), at.astimezone(UTC)) for path, at in rows)
