"""Creates the tables, or changes those of an older version.

It must never run twice at the same time on one database, nor touch one of a newer version.
"""

from typing import Final

import sqlalchemy as sa

from shared.database.engine import without_password, writing

NEWEST: Final = "0002"
"""The last of the revisions in `migrations/versions`."""

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
    with writing(engine) as connection:
        # SQLite's write transaction is a lock already.
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        # Only now: another process may have migrated while this one waited.
        current = revision_of(connection)
        if current != NEWEST:
            # Imported here: few starts need Alembic, which takes 6 MB.
            from shared.database.upgrading import revisions, upgrade  # noqa: PLC0415

            if current is not None and current not in revisions():
                raise NewerDatabase(without_password(engine.url), current)
            upgrade(connection, NEWEST)
    return NEWEST


def revision_of(connection: sa.Connection) -> str | None:
    """The revision of the database; None if it has no tables yet.

    Of several, one that is not this version's: the tables are not only those of this version.
    """
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(sa.text("SELECT version_num FROM alembic_version"))
    revisions: list[str] = sorted(found.scalars(), key=lambda revision: revision == NEWEST)
    return revisions[0] if revisions else None
