"""Chooses the databases by DATABASE_URL; imports only what it needs."""

from ops.backup.databases import Databases
from shared.settings import Settings


def databases_of(settings: Settings) -> Databases:
    """The databases of these settings.

    Raises:
        shared.database.engine.BadDatabaseUrl: DATABASE_URL cannot be used.
    """
    from shared.database.engine import database_url

    url = database_url(settings)
    if url.get_backend_name() == "sqlite":
        from ops.backup.on_sqlite import OnSqlite

        return OnSqlite(settings.home, url)
    from ops.backup.on_postgres import OnPostgres

    return OnPostgres(url)
