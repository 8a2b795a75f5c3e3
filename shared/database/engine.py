"""Opens the database: SQLite in the data folder, or the server that DATABASE_URL names.

It must never create tables (`migrate.py` does), nor put a password in a message.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from shared.database.tables import metadata
from shared.private_file import make_folder
from shared.settings import Settings
from shared.write_ahead import use_write_ahead_log

SQLITE_BUSY_S: Final = 30.0
"""How long SQLite waits for another writer. A batch of the recorder takes milliseconds."""

CONNECT_TIMEOUT_S: Final = 5
"""After this, a PostgreSQL server that does not answer counts as down."""

FILE: Final = Path("recorder") / "threadwax.sqlite"
"""The default database, in the data folder."""

_IMMEDIATE: Final = "sqlite_begin"


class BadDatabaseUrl(Exception):
    """DATABASE_URL cannot be used: a person has to correct it."""


class NoDatabase(Exception):
    """There is nothing to read: the recorder has not run on this database."""


class OlderDatabase(Exception):
    """The tables are those of an older version: start the recorder, which changes them."""


def database_url(settings: Settings) -> sa.URL:
    """The database that these settings name.

    Raises:
        BadDatabaseUrl: it is not the URL of a database that works here.
    """
    if settings.database_url is None:
        return sa.URL.create("sqlite", database=str(settings.home / FILE))
    try:
        url = sa.make_url(settings.database_url.get_secret_value())
    except (ArgumentError, ValueError):
        raise BadDatabaseUrl(
            "DATABASE_URL cannot be read: write it as postgresql://user:password@host/database, "
            "with %40 for @ and %2F for / in the password"
        ) from None
    kind = url.drivername.partition("+")[0]
    if kind in {"postgresql", "postgres"}:
        return url.set(drivername="postgresql+psycopg")
    if kind == "sqlite" and url.database and url.database != ":memory:":
        return url.set(drivername="sqlite")
    raise BadDatabaseUrl(
        "DATABASE_URL names a database that does not work here: use "
        "postgresql://user:password@host/database or sqlite:////path/to/a/file"
    )


def engine_of(url: sa.URL) -> sa.Engine:
    """An engine for the database. Connects to nothing yet; makes the folder of a SQLite file.

    Raises:
        OSError: the folder of a SQLite file cannot be made.
    """
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(
            url,
            hide_parameters=True,  # what people said must not get into an error's text
            pool_size=1,
            pool_pre_ping=True,  # a server that was restarted closes its connections
            connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "threadwax"},
        )
    make_folder(Path(url.database or "").parent)
    engine = sa.create_engine(url, hide_parameters=True, connect_args={"timeout": SQLITE_BUSY_S})
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def reading_engine(settings: Settings) -> sa.Engine:
    """An engine for a command that reads what the recorder wrote. Connects once, to check it.

    Raises:
        BadDatabaseUrl: DATABASE_URL cannot be used.
        NoDatabase: it has no tables; the message says what to do.
        OlderDatabase: some tables are missing; the same.
        sqlalchemy.exc.OperationalError: the server does not answer.
    """
    url = database_url(settings)
    where = without_password(url)
    nothing = NoDatabase(
        f"nothing has been recorded in {where} yet: run `threadwax up` or `threadwax recorder` "
        "with the same settings"
    )
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise nothing
    engine = engine_of(url)
    missing = metadata.tables.keys() - set(sa.inspect(engine).get_table_names())
    if not missing:
        return engine
    engine.dispose()
    if "answers" in missing:
        raise nothing
    raise OlderDatabase(
        f"the tables in {where} are those of an older version: start `threadwax up` or "
        "`threadwax recorder`, which changes them, and try again"
    )


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that writes: committed at the end, rolled back if an exception leaves it.

    On SQLite it takes the write lock at once: a transaction that begins with a read could fail when
    it wants to write.
    """
    with (
        engine.connect().execution_options(**{_IMMEDIATE: True}) as connection,
        connection.begin(),
    ):
        yield connection


def without_password(url: sa.URL) -> str:
    """The URL for messages; a SQLite file is its path."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(drivername="postgresql").render_as_string(hide_password=True)


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # we begin transactions: the driver would do so too late
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    if path:
        os.chmod(path, 0o600)  # noqa: PTH101  (-wal and -shm get the mode of the file)
    use_write_ahead_log(connection, within_s=SQLITE_BUSY_S)
    # A power cut can lose the last rows together with their position; they are read again.
    connection.execute("PRAGMA synchronous = NORMAL")
    # Deleted words must not stay in free pages.
    connection.execute("PRAGMA secure_delete = ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    immediate = connection.get_execution_options().get(_IMMEDIATE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
