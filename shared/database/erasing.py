"""Erases people's words from the database: of one question, or of one person.

The caller commits. It must never match the rows of another person.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from shared.database.tables import answers, events, questions, ratings

_OF_PERSON: Final = (
    (questions, (questions.c.stored_at,)),
    (answers, (answers.c.journaled_at, answers.c.said_at)),
    (ratings, (ratings.c.rated_at,)),
    (events, (events.c.stored_at,)),
)
"""The tables with people's words, and the times that say when something was said or stored."""


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
