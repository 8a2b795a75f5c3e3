"""Writes batches to the database: the rows and the position of each stream in one transaction.

A batch that is written twice changes nothing the second time. The order in which the streams are
read must never matter: an answer can come before its question, and after its deletion.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from dataflow.recorder.batch import Batch, RatingKey, ReceiptKey
from dataflow.recorder.changes import Row
from shared.database.erasing import erase_person, wipe_questions
from shared.database.tables import (
    answers,
    background_usage,
    early_receipts,
    events,
    people,
    positions,
    questions,
    ratings,
)
from shared.follow import Position

Columns = sa.ColumnCollection[str, Any]

WHOLE_STREAM: Final = 0
"""The number in `positions.partition`: one reader reads all partitions of a stream."""

DELETED: Final = "deleted"

_FROM_OTHERS: Final = frozenset({"deleted_at", "shown_at"})
"""Columns that other messages fill: a row that does not have them keeps them."""

ONE_WRITER: Final = 0x7265_636F_7264_6572
"""PostgreSQL's advisory locks have numbers: this one is `recorder` in ASCII."""


def positions_of(connection: sa.Connection) -> dict[str, Position]:
    """The position of each stream in the database."""
    rows = connection.execute(positions.select())
    return {
        row.stream: Position(row.sequence, row.stream_created_at, row.stored_at) for row in rows
    }


def forget_positions(connection: sa.Connection) -> None:
    """Makes the next recorder read the streams from their beginning."""
    connection.execute(positions.delete())


def prune_receipts(connection: sa.Connection, before: datetime) -> None:
    """Deletes early receipts whose answers will not come."""
    connection.execute(early_receipts.delete().where(early_receipts.c.shown_at < before))


def write(connection: sa.Connection, batch: Batch) -> None:
    """Writes a batch. The caller commits."""
    # Two recorders must not insert the same row at once. SQLite has one writer at a time anyway.
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ONE_WRITER)))
    for user, at in batch.forgotten.items():
        erase_person(connection, user, at)
        _upsert(
            connection, people, [{"user_id": user, "forgotten_at": at}],
            newer=people.c.forgotten_at,
        )  # fmt: skip
    _drop_forgotten(connection, batch)
    _upsert(connection, questions, batch.questions.values())
    waiting = _show(connection, batch)
    _upsert(connection, answers, batch.answers.values())
    _upsert(connection, background_usage, batch.background_usage())
    _upsert(connection, events, batch.events.values())
    _rate(connection, batch.ratings)
    _upsert(
        connection, people,
        [
            {
                "user_id": decided.user, "training_allowed": decided.training_allowed,
                "decided_at": decided.at,
            }
            for decided in batch.decided.values()
        ],
        newer=people.c.decided_at,  # a rebuild must not allow what was forbidden since
    )  # fmt: skip
    _show_recorded(connection, waiting)
    _wipe_deleted(connection, batch)
    _move(connection, batch)


def _upsert(
    connection: sa.Connection,
    table: sa.Table,
    rows: Iterable[Row],
    *,
    newer: sa.Column[Any] | None = None,
    rewrite: Callable[[Columns], dict[str, Any]] = lambda _: {},
) -> None:
    """Inserts rows, or rewrites them if they have the same key and are the same person's.

    With `newer`, only a later time in that column rewrites a row. `rewrite` returns columns that do
    not simply become those of the new row.
    """
    rows = list(rows)
    if not rows:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(table)
    keys = {column.name for column in table.primary_key}
    rewritten = {
        name: sa.func.coalesce(insert.excluded[name], table.c[name])
        if name in _FROM_OTHERS
        else insert.excluded[name]
        for name in rows[0]
        if name not in keys
    } | rewrite(insert.excluded)
    allowed: sa.ColumnElement[bool] = sa.true()
    if "user_id" in table.c and "user_id" not in keys:
        allowed = table.c.user_id == insert.excluded.user_id
    if newer is not None:
        allowed = sa.or_(newer.is_(None), newer < insert.excluded[newer.name])
    statement = insert.on_conflict_do_update(
        index_elements=sorted(keys), set_=rewritten, where=allowed
    )
    connection.execute(statement, rows)


def _drop_forgotten(connection: sa.Connection, batch: Batch) -> None:
    """Drops what was said before its person was forgotten, and comes only now."""
    rows = [*batch.questions.values(), *batch.answers.values(), *batch.events.values()]
    users = {row["user_id"] for row in rows} | {key.user for key in batch.ratings}
    if not users:
        return
    forgotten = _pairs(
        connection,
        sa.select(people.c.user_id, people.c.forgotten_at).where(
            people.c.forgotten_at.is_not(None), people.c.user_id.in_(users)
        ),
    )
    if not forgotten:
        return

    def is_newer(row: Row) -> bool:
        at = forgotten.get(row["user_id"])
        if at is None:
            return True
        if "journaled_at" in row:  # of an answer, also the question must be newer
            return bool(min(row["journaled_at"], row["said_at"]) >= at)
        return bool((row["rated_at"] if "rated_at" in row else row["stored_at"]) >= at)

    batch.keep(is_newer)


def _keep_words(new: Columns) -> dict[str, Any]:
    """The words of a rating stay if the same thumb comes again without any (`batch.py`)."""
    again = sa.and_(
        new["reason"].is_(None), new["correction"].is_(None), new["thumb"] == ratings.c.thumb
    )
    return {
        name: sa.case((again, ratings.c[name]), else_=new[name])
        for name in ("reason", "correction")
    }


def _rate(connection: sa.Connection, rated: Mapping[RatingKey, Row]) -> None:
    rows = [row for row in rated.values() if row["thumb"] != "none"]
    _upsert(connection, ratings, rows, rewrite=_keep_words)
    withdrawn = [
        {"of": key.prompt_id, "by": key.user}
        for key, row in rated.items()
        if row["thumb"] == "none"
    ]
    if withdrawn:
        connection.execute(
            ratings.delete().where(
                ratings.c.prompt_id == sa.bindparam("of"), ratings.c.user_id == sa.bindparam("by")
            ),
            withdrawn,
        )


def _show(connection: sa.Connection, batch: Batch) -> dict[ReceiptKey, datetime]:
    """Adds the time when it was shown to each answer; returns the receipts of other answers."""
    shown = dict(batch.shown)
    if batch.answers:
        is_here = early_receipts.c.prompt_id.in_(batch.answers)
        found = {
            ReceiptKey(row.prompt_id, row.platform): row.shown_at
            for row in connection.execute(early_receipts.select().where(is_here))
        }
        if found:
            connection.execute(early_receipts.delete().where(is_here))
        shown = found | shown
    for prompt_id, row in batch.answers.items():
        platform, _, _ = row["user_id"].partition(":")
        row["shown_at"] = shown.pop(ReceiptKey(prompt_id, platform), None)
    return shown


def _show_recorded(connection: sa.Connection, shown: Mapping[ReceiptKey, datetime]) -> None:
    """Records when answers of earlier batches were shown; of answers that come later, for then."""
    if not shown:
        return
    known = _pairs(
        connection,
        sa.select(answers.c.prompt_id, answers.c.user_id).where(
            answers.c.prompt_id.in_({key.prompt_id for key in shown})
        ),
    )
    updates: list[Row] = []
    waiting: dict[ReceiptKey, datetime] = {}
    for key, at in shown.items():
        if key.prompt_id not in known:
            waiting[key] = at
        elif known[key.prompt_id].startswith(f"{key.platform}:"):
            updates.append({"of": key.prompt_id, "at": at})
    if updates:
        connection.execute(
            answers.update()
            .where(answers.c.prompt_id == sa.bindparam("of"))
            .values(shown_at=sa.bindparam("at")),
            updates,
        )
    _upsert(
        connection, early_receipts,
        [
            {"prompt_id": key.prompt_id, "platform": key.platform, "shown_at": at}
            for key, at in waiting.items()
        ],
    )  # fmt: skip


def _wipe_deleted(connection: sa.Connection, batch: Batch) -> None:
    """Wipes the words of deleted questions, whichever of the two came first."""
    touched = set(batch.questions) | set(batch.answers) | {key.prompt_id for key in batch.ratings}
    touched |= {row["replaces"] for row in batch.questions.values() if row["replaces"]}
    touched |= {row["prompt_id"] for row in batch.events.values() if row["prompt_id"]}
    if not touched:
        return
    by_event = sa.select(events.c.prompt_id, events.c.user_id, events.c.stored_at).where(
        events.c.kind == DELETED, events.c.prompt_id.in_(touched)
    )
    by_question = sa.select(
        questions.c.prompt_id, questions.c.user_id, questions.c.deleted_at
    ).where(questions.c.deleted_at.is_not(None), questions.c.prompt_id.in_(touched))
    for prompt_id, user, at in [
        *connection.execute(by_event),
        *connection.execute(by_question),
    ]:
        wipe_questions(connection, user, [prompt_id], at)


def _move(connection: sa.Connection, batch: Batch) -> None:
    _upsert(
        connection, positions,
        [
            {
                "stream": stored.stream, "partition": WHOLE_STREAM, "sequence": stored.sequence,
                "stream_created_at": stored.stream_created_at, "stored_at": stored.stored_at,
            }
            for stored in batch.last.values()
        ],
    )  # fmt: skip


def _pairs(connection: sa.Connection, statement: sa.Select[Any]) -> dict[str, Any]:
    return {row[0]: row[1] for row in connection.execute(statement)}
