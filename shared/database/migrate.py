"""Creates the tables, or changes those of an older version.

It must never run twice at the same time on one database, nor touch one of a newer version.
"""

from pathlib import Path
from typing import Final

import sqlalchemy as sa

from shared.database.engine import without_password, writing
from shared.tuning import without

with without("pygments"):  # mako would import it, to color its error pages
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

MIGRATIONS: Final = Path(__file__).parent / "migrations"

CONNECTION: Final = "connection"
"""The attribute in which `migrations/env.py` finds the connection to use."""

_LOCK: Final = 0x7468_7265_6164_7761
"""PostgreSQL's advisory locks have numbers: this one is `threadwa` in ASCII."""


class NewerDatabase(Exception):
    """A newer version changed the tables: use that version, or another database."""

    def __init__(self, where: str, revision: str) -> None:
        super().__init__(
            f"the database {where} is of a newer version of threadwax ({revision}): upgrade "
            "threadwax, or set DATABASE_URL to another database. NATS keeps what is not recorded "
            "for seven days"
        )


def migrate(engine: sa.Engine) -> str:
    """Brings the database to this version's revision, in one transaction; returns the revision.

    A process that comes second waits, and finds nothing left to do.

    Raises:
        NewerDatabase: what this version does not record would be missing there forever.
        sqlalchemy.exc.SQLAlchemyError: nothing was changed.
    """
    known = revisions()
    with writing(engine) as connection:
        # SQLite's write transaction is a lock already.
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        # Only now: another process may have migrated while this one waited.
        current = revision_of(connection)
        if current is not None and current not in known:
            raise NewerDatabase(without_password(engine.url), current)
        upgrade(connection, "head")
        return revision_of(connection) or ""


def revisions() -> frozenset[str]:
    """All revisions that this version knows."""
    script = ScriptDirectory.from_config(_config())
    return frozenset(revision.revision for revision in script.walk_revisions())


def upgrade(connection: sa.Connection, revision: str) -> None:
    """Brings the database to a revision, within a transaction of the caller's."""
    config = _config()
    config.attributes[CONNECTION] = connection
    command.upgrade(config, revision)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def revision_of(connection: sa.Connection) -> str | None:
    """The revision of the database; None if it has no tables yet."""
    return MigrationContext.configure(connection).get_current_revision()
