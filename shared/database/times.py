"""Times in SQL, for SQLite and PostgreSQL alike. Pure."""

from typing import Any, Final

import sqlalchemy as sa

MS_PER_DAY: Final = 86_400_000


def day_of(dialect: str, at: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """The day of an instant in UTC, as 2026-11-26."""
    if dialect == "sqlite":
        return sa.func.strftime("%Y-%m-%d", at)
    return sa.func.to_char(sa.func.timezone("UTC", at), "YYYY-MM-DD")


def hour_of(dialect: str, at: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """The beginning of the hour of an instant in UTC, as 2026-11-26T09:00."""
    if dialect == "sqlite":
        return sa.func.strftime("%Y-%m-%dT%H:00", at)
    return sa.func.to_char(sa.func.timezone("UTC", at), 'YYYY-MM-DD"T"HH24:00')


def milliseconds(
    dialect: str, since: sa.ColumnElement[Any], until: sa.ColumnElement[Any]
) -> sa.ColumnElement[Any]:
    """The time between two instants; SQLite computes it to the millisecond."""
    if dialect == "sqlite":
        return (sa.func.julianday(until) - sa.func.julianday(since)) * MS_PER_DAY
    return sa.extract("epoch", until - since) * 1000
