"""The tables of the database. docs/recorder.md describes them for people who query them.

Pure. There are no foreign keys: the streams are read independently, so an answer can arrive before
its question. A change here needs a migration in `migrations/versions`; a test compares the two.
"""

from typing import Final

import sqlalchemy as sa

from shared.database.columns import UtcDateTime

metadata: Final = sa.MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"}
)


def _place() -> tuple[sa.Column[str], ...]:
    """Where something was said, as in `shared.messages.Place`."""
    return (
        sa.Column("platform", sa.Text, nullable=False),
        sa.Column("space", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("thread", sa.Text, nullable=False),
        sa.Column("audience", sa.Text, nullable=False),
    )


def _usage() -> tuple[sa.Column[int], ...]:
    """What a model call used, as in `shared.replies.Usage`, and its cost; NULL: unknown."""
    return (
        sa.Column("prompt_tokens", sa.BigInteger),
        sa.Column("completion_tokens", sa.BigInteger),
        sa.Column("cached_tokens", sa.BigInteger),
        sa.Column("reasoning_tokens", sa.BigInteger),
        sa.Column("cost_microdollars", sa.BigInteger),
    )


questions: Final = sa.Table(
    "questions",
    metadata,
    sa.Column("prompt_id", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, nullable=False),
    *_place(),
    sa.Column("alone", sa.Boolean, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("text", sa.Text),
    sa.Column("attachments", sa.JSON(none_as_null=True)),
    sa.Column("quotes", sa.JSON(none_as_null=True)),
    sa.Column("persona", sa.Text),
    sa.Column("model", sa.Text),
    sa.Column("replaces", sa.Text),
    sa.Column("said_at", UtcDateTime, nullable=False),
    sa.Column("stored_at", UtcDateTime, nullable=False),
    sa.Column("deleted_at", UtcDateTime),
    sa.Index(None, "user_id", "said_at"),
    sa.Index(None, "replaces"),
    comment="What people asked. deleted_at: text, files and quotes were wiped then.",
)

answers: Final = sa.Table(
    "answers",
    metadata,
    sa.Column("prompt_id", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("text", sa.Text),
    sa.Column("prompt_text", sa.Text),
    sa.Column("model", sa.Text, nullable=False),
    *_usage(),
    sa.Column("said_at", UtcDateTime, nullable=False),
    sa.Column("called_at", UtcDateTime),
    sa.Column("first_token_at", UtcDateTime),
    sa.Column("answered_at", UtcDateTime, nullable=False),
    sa.Column("journaled_at", UtcDateTime, nullable=False),
    sa.Column("shown_at", UtcDateTime),
    sa.Column("experiment", sa.Text),
    sa.Index(None, "user_id"),
    sa.Index(None, "answered_at"),
    comment="One row per journaled reply.",
)

background_usage: Final = sa.Table(
    "background_usage",
    metadata,
    sa.Column("prompt_id", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    *_usage(),
    sa.Column("said_at", UtcDateTime, nullable=False),
    sa.Column("journaled_at", UtcDateTime, nullable=False),
    sa.Index(None, "user_id"),
    comment="Model calls that answer no question, numbered within the reply that reports them.",
)

ratings: Final = sa.Table(
    "ratings",
    metadata,
    sa.Column("prompt_id", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("thumb", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("correction", sa.Text),
    sa.Column("rated_at", UtcDateTime, nullable=False),
    sa.Index(None, "user_id"),
    comment="What each person thinks of an answer now: up or down.",
)

events: Final = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("prompt_id", sa.Text),
    *_place(),
    sa.Column("alone", sa.Boolean, nullable=False),
    sa.Column("text", sa.Text),
    sa.Column("said_at", UtcDateTime, nullable=False),
    sa.Column("stored_at", UtcDateTime, nullable=False),
    sa.Index(None, "user_id"),
    sa.Index(None, "prompt_id"),
    comment="What people did besides asking: ratings, edits, stops, resets and so on.",
)

people: Final = sa.Table(
    "people",
    metadata,
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("training_allowed", sa.Boolean),
    sa.Column("decided_at", UtcDateTime),
    sa.Column("forgotten_at", UtcDateTime),
    comment="What people decided about their data. decided_at: about training.",
)

exports: Final = sa.Table(
    "exports",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("format", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("examples", sa.BigInteger, nullable=False),
    sa.Column("schema_version", sa.Integer, nullable=False),
    comment="The exports that were made.",
)

export_people: Final = sa.Table(
    "export_people",
    metadata,
    sa.Column("export_id", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Index(None, "user_id"),
    comment="Whose words are in which export.",
)

early_receipts: Final = sa.Table(
    "early_receipts",
    metadata,
    sa.Column("prompt_id", sa.Text, primary_key=True),
    sa.Column("platform", sa.Text, primary_key=True),
    sa.Column("shown_at", UtcDateTime, nullable=False),
    comment="When answers were shown that are not recorded yet.",
)

positions: Final = sa.Table(
    "positions",
    metadata,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("stream_created_at", UtcDateTime),
    sa.Column("stored_at", UtcDateTime),
    comment="How far each stream has been recorded.",
)
