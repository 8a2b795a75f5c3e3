"""Reads turns from the database, one person's turns in one channel at a time.

Reads only. It must never hold more than these in memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final

import sqlalchemy as sa

from ops.export.selection import Filters
from ops.export.turns import Rating, Reset, Turn
from shared.database.tables import answers, events, people, questions, ratings
from shared.messages import Place

ROWS_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Conversation:
    """One person's turns in one channel, and all resets of that person."""

    turns: list[Turn]
    resets: list[Reset]


@contextmanager
def snapshot(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection that sees the database as it is now, whatever is written meanwhile."""
    options = {"isolation_level": "REPEATABLE READ"} if engine.name == "postgresql" else {}
    with engine.connect() as connection:
        yield connection.execution_options(**options)


def latest_event(connection: sa.Connection) -> datetime | None:
    """When the latest recorded event was stored; None if there is none.

    Events are recorded in this order, so each one that is recorded from now on is newer.
    """
    return connection.execute(sa.select(sa.func.max(events.c.stored_at))).scalar()


def count(connection: sa.Connection, filters: Filters) -> int:
    """How many turns `conversations` will read."""
    chosen = sa.select(sa.func.count()).select_from(_joined()).where(*_where(filters))
    return connection.execute(chosen).scalar_one()


def conversations(connection: sa.Connection, filters: Filters) -> Iterator[Conversation]:
    """The turns of the people, platforms and places of the filters.

    Sorted by person and channel; the other filters are not applied, because a turn builds on
    earlier ones.
    """
    order = (answers.c.user_id, questions.c.platform, questions.c.channel, answers.c.prompt_id)
    statement = (
        sa.select(*_COLUMNS)
        .select_from(_joined())
        .where(*_where(filters))
        .order_by(*(_by_bytes(connection, column) for column in order))
    )
    rows = connection.execute(statement, execution_options={"yield_per": ROWS_AT_ONCE})
    user, resets = "", list[Reset]()
    for key, group in groupby(rows, key=lambda row: (row.user_id, row.platform, row.channel)):
        if key[0] != user:
            user = key[0]
            resets = _resets_of(connection, user)
        yield Conversation([_turn(row) for row in group], resets)


_COLUMNS: Final[tuple[sa.ColumnElement[Any], ...]] = (
    answers.c.prompt_id, answers.c.user_id, answers.c.prompt_text, answers.c.text,
    answers.c.outcome, answers.c.model, answers.c.said_at, answers.c.answered_at,
    answers.c.prompt_tokens, answers.c.completion_tokens, answers.c.cost_microdollars,
    questions.c.platform, questions.c.space, questions.c.channel, questions.c.thread,
    questions.c.audience, questions.c.alone, questions.c.kind, questions.c.replaces,
    questions.c.persona, questions.c.attachments, questions.c.quotes, questions.c.deleted_at,
    ratings.c.thumb, ratings.c.reason, ratings.c.correction,
    people.c.training_allowed,
)  # fmt: skip


def _joined() -> sa.FromClause:
    """Answers with their question, the rating of the person who asked, and that person's choice."""
    asked = sa.and_(
        questions.c.prompt_id == answers.c.prompt_id, questions.c.user_id == answers.c.user_id
    )
    rated = sa.and_(
        ratings.c.prompt_id == answers.c.prompt_id, ratings.c.user_id == answers.c.user_id
    )
    return (
        answers.outerjoin(questions, asked)
        .outerjoin(ratings, rated)
        .outerjoin(people, people.c.user_id == answers.c.user_id)
    )


def _where(filters: Filters) -> Iterator[sa.ColumnElement[bool]]:
    if filters.people:
        yield answers.c.user_id.in_(filters.people)
    if filters.platforms:
        yield sa.or_(
            *(
                answers.c.user_id.startswith(f"{name}:", autoescape=True)
                for name in filters.platforms
            )
        )
    if filters.places:
        yield questions.c.channel.in_({place.rpartition("/")[2] for place in filters.places})


def _by_bytes(connection: sa.Connection, column: sa.Column[str]) -> sa.ColumnElement[str]:
    """A column to sort by, in the same order on both databases."""
    by_bytes = sa.collate(column, "C") if connection.dialect.name == "postgresql" else column
    return sa.nulls_first(by_bytes)


def _resets_of(connection: sa.Connection, user: str) -> list[Reset]:
    chosen = events.select().where(events.c.user_id == user, events.c.kind == "reset")
    return [Reset(_place(row), row.said_at) for row in connection.execute(chosen)]


def _turn(row: sa.Row[Any]) -> Turn:
    wiped = row.deleted_at is not None
    rating = Rating(row.thumb, row.reason, row.correction) if row.thumb else None
    return Turn(
        prompt_id=row.prompt_id, user=row.user_id, place=_place(row) if row.platform else None,
        kind=row.kind or "ask", replaces=row.replaces,
        said_at=row.said_at, answered_at=row.answered_at,
        question=None if wiped else row.prompt_text, answer=None if wiped else row.text,
        outcome=row.outcome, model=row.model, persona=row.persona,
        files=len(row.attachments or ()), quotes=len(row.quotes or ()), rating=rating,
        training_allowed=row.training_allowed, prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens, cost_microdollars=row.cost_microdollars,
    )  # fmt: skip


def _place(row: sa.Row[Any]) -> Place:
    return Place(
        platform=row.platform, space=row.space, channel=row.channel, thread=row.thread,
        audience=row.audience, alone=row.alone,
    )  # fmt: skip
