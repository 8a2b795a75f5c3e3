"""What Alembic runs for each command, with the connection of `upgrading.py`.

From the command line (`alembic revision --autogenerate`), it opens the database of the settings.
"""

import sqlalchemy as sa
from alembic import context

from shared.database.engine import database_url, engine_of, writing
from shared.database.tables import metadata
from shared.database.upgrading import CONNECTION
from shared.settings import Settings


def _run(connection: sa.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,  # SQLite cannot alter a table: Alembic copies it
        user_module_prefix="",
    )
    with context.begin_transaction():
        context.run_migrations()


if (given := context.config.attributes.get(CONNECTION)) is not None:
    _run(given)
else:
    with writing(engine_of(database_url(Settings()))) as own:
        _run(own)
