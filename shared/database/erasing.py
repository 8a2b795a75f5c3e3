"""Erases people's words from the database: of one question, or of one person.

The caller commits. It must never match the rows of another person.
"""

import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from shared.database.engine import writing
from shared.database.tables import answers, background_usage, events, questions, ratings

RECLAIM_WITHIN_S: Final = 5.0
RECLAIM_AGAIN_S: Final = 0.05
LOG_IN_USE: Final = "it is being read, so its log still has erased words"

_OF_PERSON: Final = (
    (questions, (questions.c.stored_at,)),
    (answers, (answers.c.journaled_at, answers.c.said_at)),
    (background_usage, (background_usage.c.journaled_at, background_usage.c.said_at)),
    (ratings, (ratings.c.rated_at,)),
    (events, (events.c.stored_at,)),
)
"""The tables with rows of people, and the times that say when something was said or stored."""


@dataclass(frozen=True, slots=True)
class _Expiring:
    """The columns with words of a table; none: the whole row goes."""

    table: sa.Table
    times: tuple[sa.Column[datetime], ...]
    words: tuple[str, ...] = ()


_EXPIRING: Final = (
    _Expiring(questions, (questions.c.stored_at,), ("text", "attachments", "quotes")),
    # The question's words may be older than the answer.
    _Expiring(answers, (answers.c.journaled_at, answers.c.said_at), ("text", "prompt_text")),
    _Expiring(ratings, (ratings.c.rated_at,), ("reason", "correction")),
    _Expiring(events, (events.c.stored_at,)),
)

EXPIRE_AT_ONCE: Final = 1000


def erase_person(
    connection: sa.Connection, user: str, before: datetime | None = None
) -> dict[str, int]:
    """Deletes the rows of a person; returns how many there were in each table.

    With `before`, only what was said or stored before that time: a person may come back.

    The rows of `people` and `export_people` stay: they say that the person was forgotten, and
    which exports have their words.
    """
    counts = {}
    for table, times in _OF_PERSON:
        delete = table.delete().where(table.c.user_id == user)
        if before is not None:
            delete = delete.where(sa.or_(*(time < before for time in times)))
        done = connection.execute(delete)
        counts[table.name] = done.rowcount
    return counts


def expire(engine: sa.Engine, before: datetime) -> int:
    """Erases words that were said or stored before that time; returns how many rows it changed.

    What people asked, were answered and rated keeps its row without words, for the reports; events
    have no use without them. Commits in steps, so that nobody waits long. Safe to repeat.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database is in use, or does not answer.
    """
    changed = sum(_expire(engine, expired, before) for expired in _EXPIRING)
    if changed:
        reclaim(engine, full=False)
    return changed


def _expire(engine: sa.Engine, expired: "_Expiring", before: datetime) -> int:
    table, key = expired.table, expired.table.primary_key.columns[0]
    old = sa.or_(*(time < before for time in expired.times))
    if expired.words:
        old = sa.and_(old, sa.or_(*(table.c[word].is_not(None) for word in expired.words)))
    values: dict[str, object] = dict.fromkeys(expired.words)
    if table is questions:
        deleted_at = questions.c.deleted_at
        values["deleted_at"] = sa.func.coalesce(deleted_at, sa.literal(before, deleted_at.type))
    changed = 0
    while True:
        some = sa.select(key).where(old).limit(EXPIRE_AT_ONCE)
        chosen = sa.and_(key.in_(some), old)
        change = table.update().where(chosen).values(**values)
        with writing(engine) as connection:
            done = connection.execute(change if expired.words else table.delete().where(chosen))
        if not done.rowcount:
            return changed
        changed += done.rowcount


def reclaim(engine: sa.Engine, *, full: bool = True) -> None:
    """Removes the bytes of deleted rows from the files. Call after the commit; may block for 5 s.

    On PostgreSQL this rewrites the tables, and nobody can use them meanwhile; if not `full`, it
    only lets new rows overwrite the old bytes. The write-ahead log of PostgreSQL keeps its older
    versions until it recycles them.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database is in use, or does not answer.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            tables = ", ".join(table.name for table, _ in _OF_PERSON)
            connection.exec_driver_sql(f"VACUUM {'(FULL) ' if full else ''}{tables}")
            return
        # The pages are overwritten (secure_delete), but the log has their older versions.
        deadline = time.monotonic() + RECLAIM_WITHIN_S
        while connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar_one():
            if time.monotonic() > deadline:
                raise sa.exc.OperationalError("wal_checkpoint", None, TimeoutError(LOG_IN_USE))
            time.sleep(RECLAIM_AGAIN_S)


def wipe_questions(
    connection: sa.Connection, user: str, prompt_ids: Collection[str], at: datetime
) -> None:
    """Wipes the words of a person's questions, of newer answers to them, and of their ratings.

    The rows stay, with `deleted_at`.
    """
    mine = _with_newer(connection, user, prompt_ids)
    deleted_at = questions.c.deleted_at
    _update(
        connection, questions, questions.c.prompt_id.in_(mine), user,
        text=None, attachments=None, quotes=None,
        deleted_at=sa.func.coalesce(deleted_at, sa.literal(at, deleted_at.type)),
    )  # fmt: skip
    of_answer = answers.c.prompt_id.in_(mine)
    _update(connection, answers, of_answer, user, text=None, prompt_text=None)
    _update(connection, events, events.c.prompt_id.in_(mine), user, text=None)
    # Other people may have rated the answer, and quoted it in their correction.
    my_answers = sa.select(answers.c.prompt_id).where(of_answer, answers.c.user_id == user)
    connection.execute(
        ratings.update()
        .where(ratings.c.prompt_id.in_(my_answers))
        .values(reason=None, correction=None)
    )


def _with_newer(connection: sa.Connection, user: str, prompt_ids: Collection[str]) -> set[str]:
    """The questions and everything that was asked in place of one of them."""
    found = set(prompt_ids)
    newest = found
    while newest:
        newer = sa.select(questions.c.prompt_id).where(
            questions.c.replaces.in_(newest), questions.c.user_id == user
        )
        newest = set(connection.execute(newer).scalars()) - found
        found |= newest
    return found


def _update(
    connection: sa.Connection,
    table: sa.Table,
    chosen: sa.ColumnElement[bool],
    user: str,
    **values: object,
) -> None:
    connection.execute(table.update().where(chosen, table.c.user_id == user).values(**values))
