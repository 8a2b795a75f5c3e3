"""Runs the migrations in `migrations/` with Alembic.

Import it only to upgrade a database: Alembic takes 6 MB of memory.
"""

from pathlib import Path
from typing import Final

import sqlalchemy as sa

from shared.tuning import without

with without("pygments"):  # mako would import it, to color its error pages
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

MIGRATIONS: Final = Path(__file__).parent / "migrations"

CONNECTION: Final = "connection"
"""The attribute in which `migrations/env.py` finds the connection to use."""


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
