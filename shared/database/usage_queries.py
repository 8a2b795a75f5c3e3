"""The queries of tokens, money and ratings, for SQLite and PostgreSQL. Pure."""

from datetime import datetime
from typing import Any, Final, Literal

import sqlalchemy as sa

from shared.database.tables import answers, background_usage, questions, ratings
from shared.database.times import day_of, milliseconds

By = Literal["user", "day", "model", "place", "experiment"]

TOKENS: Final = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")

NO_EXPERIMENT: Final = "(no experiment)"


def of_answers(
    dialect: str, by: By, since: datetime | None, user: str | None = None
) -> sa.Select[Any]:
    """Sums over the answers, by group, model and whether their cost is not in the database.

    With `user`, only over that person's answers.
    """
    rated = (
        sa.select(
            ratings.c.prompt_id,
            sa.func.sum(sa.case((ratings.c.thumb == "up", 1), else_=0)).label("up"),
            sa.func.sum(sa.case((ratings.c.thumb == "down", 1), else_=0)).label("down"),
        )
        .group_by(ratings.c.prompt_id)
        .subquery()
    )
    called, first, ended = answers.c.called_at, answers.c.first_token_at, answers.c.answered_at
    is_answered = answers.c.outcome == "answered"
    is_unmeasured = sa.and_(
        sa.or_(is_answered, first.is_not(None)), answers.c.prompt_tokens.is_(None)
    )
    is_timed = sa.and_(is_answered, called.is_not(None), first.is_not(None))
    columns = [
        _key(dialect, by).label("key"),
        *_used(answers),
        sa.func.sum(sa.case((is_answered, 1), else_=0)).label("answered"),
        sa.func.sum(sa.case((is_unmeasured, 1), else_=0)).label("without_usage"),
        sa.func.sum(rated.c.up).label("up"),
        sa.func.sum(rated.c.down).label("down"),
        sa.func.sum(sa.case((is_timed, 1), else_=0)).label("timed"),
        *(
            sa.func.sum(sa.case((is_timed, milliseconds(dialect, called, until)))).label(name)
            for name, until in (("first_text_ms", first), ("answer_ms", ended))
        ),
    ]
    statement = (
        sa.select(*columns)
        .select_from(answers)
        .outerjoin(rated, rated.c.prompt_id == answers.c.prompt_id)
    )
    return _grouped(statement, answers, by, since, user)


def of_background_calls(
    dialect: str, by: By, since: datetime | None, user: str | None = None
) -> sa.Select[Any]:
    """The same sums over the calls that answer no question.

    They belong to the time and place of the reply that reports them, the next one of that person.
    """
    calls = background_usage
    key = calls.c.model if by == "model" else _key(dialect, by)
    if by == "experiment":  # the call was not made for the question of that reply
        key = sa.literal_column(f"'{NO_EXPERIMENT}'")
    of_reply = sa.and_(
        answers.c.prompt_id == calls.c.prompt_id, answers.c.user_id == calls.c.user_id
    )
    without_usage = sa.func.sum(sa.case((calls.c.prompt_tokens.is_(None), 1), else_=0))
    statement = (
        sa.select(key.label("key"), *_used(calls), without_usage.label("without_usage"))
        .select_from(calls)
        .join(answers, of_reply)
    )
    return _grouped(statement, calls, by, since, user)


def _used(table: sa.Table) -> tuple[sa.ColumnElement[Any], ...]:
    price_missing = sa.and_(table.c.cost_microdollars.is_(None), table.c.prompt_tokens.is_not(None))
    return (
        table.c.model,
        price_missing.label("price_missing"),
        sa.func.count().label("calls"),
        sa.func.sum(table.c.cost_microdollars).label("microdollars"),
        *(sa.func.sum(table.c[name]).label(name) for name in TOKENS),
    )


def _grouped(
    statement: sa.Select[Any], table: sa.Table, by: By, since: datetime | None, user: str | None
) -> sa.Select[Any]:
    if by == "place":
        statement = statement.outerjoin(questions, questions.c.prompt_id == answers.c.prompt_id)
    if since is not None:
        statement = statement.where(answers.c.answered_at >= since)
    if user is not None:
        statement = statement.where(table.c.user_id == user)
    return statement.group_by(sa.text("1"), table.c.model, sa.text("3"))


def _key(dialect: str, by: By) -> sa.ColumnElement[Any]:
    if by == "user":
        return answers.c.user_id
    if by == "model":
        return answers.c.model
    if by == "experiment":
        was_asked = sa.or_(answers.c.called_at.is_not(None), answers.c.model != "")
        return sa.func.coalesce(answers.c.experiment, sa.case((was_asked, NO_EXPERIMENT), else_=""))
    if by == "place":
        place = questions.c
        return place.platform + "/" + place.space + "/" + place.channel
    return day_of(dialect, answers.c.answered_at)
