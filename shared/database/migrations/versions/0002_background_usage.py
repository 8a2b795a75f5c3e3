"""The usage of model calls that answer no question, such as those for summaries."""

import sqlalchemy as sa
from alembic import op

from shared.database.columns import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table. Calls of replies recorded before are added by `recorder --rebuild`."""
    op.create_table(
        "background_usage",
        sa.Column("prompt_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=True),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=True),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cost_microdollars", sa.BigInteger(), nullable=True),
        sa.Column("said_at", UtcDateTime(), nullable=False),
        sa.Column("journaled_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("prompt_id", "number", name=op.f("pk_background_usage")),
        comment="Model calls that answer no question, numbered within the reply that reports them.",
    )
    op.create_index("ix_background_usage_user_id", "background_usage", ["user_id"])


def downgrade() -> None:
    """Takes it back, with all rows."""
    op.drop_table("background_usage")
