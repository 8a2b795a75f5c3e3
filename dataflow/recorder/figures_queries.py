"""The queries of the dashboard that `shared.database.usage` does not have.

Pure: SQL for SQLite and PostgreSQL. They must never return words of people.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from shared.database.tables import answers, questions, ratings
from shared.database.times import day_of, hour_of, milliseconds
from shared.figures import StageName

TIMED_LIMIT: Final = 20_000
"""The newest answers whose times are read."""

NOTICES_READ: Final = 500
"""Different notices that are read; those with other numbers in them are one on the page."""

BROKE_OFF: Final = "(the answer broke off)"
"""Instead of the text of an answer that failed on its way, which has words of the answer."""

STAGES: Final[tuple[tuple[StageName, Any, Any], ...]] = (
    ("stored", questions.c.said_at, questions.c.stored_at),
    ("queued", questions.c.stored_at, answers.c.called_at),
    ("first token", answers.c.called_at, answers.c.first_token_at),
    ("complete", answers.c.called_at, answers.c.answered_at),
    ("shown", answers.c.answered_at, answers.c.shown_at),
)
"""Each stage with the columns of its beginning and its end."""


def _bucket(dialect: str, at: sa.ColumnElement[Any], *, by_hour: bool) -> sa.ColumnElement[str]:
    of: Callable[..., sa.ColumnElement[str]] = hour_of if by_hour else day_of
    return of(dialect, at)


def messages(dialect: str, since: datetime, *, by_hour: bool) -> sa.Select[Any]:
    """Questions by bucket and platform, in order."""
    at = _bucket(dialect, questions.c.stored_at, by_hour=by_hour)
    return (
        sa.select(at.label("at"), questions.c.platform, sa.func.count().label("messages"))
        .where(questions.c.stored_at >= since)
        .group_by(sa.text("1"), questions.c.platform)
        .order_by(sa.text("1"), questions.c.platform)
    )


def people(since: datetime) -> sa.Select[Any]:
    """How many different people asked, by platform."""
    count = sa.func.count(sa.distinct(questions.c.user_id)).label("people")
    return (
        sa.select(questions.c.platform, count)
        .where(questions.c.stored_at >= since)
        .group_by(questions.c.platform)
        .order_by(questions.c.platform)
    )


def durations(dialect: str, since: datetime) -> sa.Select[Any]:
    """The milliseconds of each stage of the newest answers; NULL: a time is not known."""
    asked = sa.and_(
        questions.c.prompt_id == answers.c.prompt_id, questions.c.user_id == answers.c.user_id
    )
    return (
        sa.select(*(milliseconds(dialect, begun, done).label(name) for name, begun, done in STAGES))
        .select_from(answers)
        .outerjoin(questions, asked)
        .where(answers.c.answered_at >= since, answers.c.outcome == "answered")
        .order_by(answers.c.answered_at.desc())
        .limit(TIMED_LIMIT)
    )


def outcomes(since: datetime) -> sa.Select[Any]:
    """Answers by outcome, in order."""
    return (
        sa.select(answers.c.outcome, sa.func.count().label("count"))
        .where(answers.c.answered_at >= since)
        .group_by(answers.c.outcome)
        .order_by(answers.c.outcome)
    )


def notices(since: datetime, broken_off: str) -> sa.Select[Any]:
    """The most frequent notices that people got instead of answers.

    `broken_off` is in the text of answers that failed after some text.
    """
    has_words = sa.or_(
        answers.c.first_token_at.is_not(None), answers.c.text.contains(broken_off, autoescape=True)
    )
    # A refusal is a notice whatever its times are: no model was called.
    is_answer = sa.and_(answers.c.outcome == "failed", has_words)
    text = sa.case((is_answer, BROKE_OFF), else_=answers.c.text).label("notice")
    return (
        sa.select(text, answers.c.outcome, sa.func.count().label("count"))
        .where(
            answers.c.answered_at >= since,
            answers.c.outcome.in_(("failed", "refused")),
            answers.c.text.is_not(None),  # of deleted questions
        )
        .group_by(sa.text("1"), answers.c.outcome)
        .order_by(sa.text("count DESC"), sa.text("1"))
        .limit(NOTICES_READ)
    )


def rated(dialect: str, since: datetime, *, by_hour: bool) -> sa.Select[Any]:
    """Thumbs up and down by bucket, in order."""
    key = _bucket(dialect, ratings.c.rated_at, by_hour=by_hour)
    return _thumbs(sa.select(key.label("key"), *_up_and_down()), since)


def rated_by_model(since: datetime) -> sa.Select[Any]:
    """Thumbs up and down by the model of the answer; of answers that are recorded."""
    columns = [answers.c.model.label("key"), *_up_and_down()]
    statement: sa.Select[Any] = sa.select(*columns)
    return _thumbs(statement.join(answers, answers.c.prompt_id == ratings.c.prompt_id), since)


def _up_and_down() -> tuple[sa.ColumnElement[Any], ...]:
    return tuple(
        sa.func.sum(sa.case((ratings.c.thumb == thumb, 1), else_=0)).label(thumb)
        for thumb in ("up", "down")
    )


def _thumbs(statement: sa.Select[Any], since: datetime) -> sa.Select[Any]:
    return (
        statement.where(ratings.c.rated_at >= since).group_by(sa.text("1")).order_by(sa.text("1"))
    )


def open_questions(since: datetime) -> sa.Select[Any]:
    """How many questions are without an answer, and when the oldest of them was stored.

    Edits are not counted: most of them get no answer of their own, but change one that is open.
    """
    answered = sa.exists().where(answers.c.prompt_id == questions.c.prompt_id)
    columns: list[sa.ColumnElement[Any]] = [
        sa.func.count().label("count"),
        sa.func.min(questions.c.stored_at).label("oldest"),
    ]
    return sa.select(*columns).where(
        questions.c.stored_at >= since,
        questions.c.deleted_at.is_(None),
        questions.c.kind != "edited",
        ~answered,
    )
