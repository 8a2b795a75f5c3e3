"""The tables of both dataflows in PostgreSQL, read in one snapshot and written in one transaction.

It must never show a password.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from psycopg import sql

from dataflow.store import postgres
from ops.backup.archive import Reader, Writer
from ops.backup.databases import FREE, Copied, Recreated, Unusable, moved
from ops.backup.manifest import Kind, table_part
from shared.database.engine import CONNECT_TIMEOUT_S, engine_of, without_password
from shared.database.migrate import revision_of
from shared.database.tables import metadata, positions
from shared.database.upgrading import upgrade

_REVISION: Final = "alembic_version"
_USED: Final = ("dataflow_conversations", "dataflow_place_budgets", *metadata.tables)
"""A row in one of these means that somebody has talked."""

_COLUMNS: Final = (
    "SELECT table_name, column_name FROM information_schema.columns"
    " WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position"
)


class OnPostgres:
    """The database that DATABASE_URL names."""

    kind: Kind = "postgresql"

    def __init__(self, url: sa.URL) -> None:
        self._url = url
        self._name = without_password(url)

    def copy(self, archive: Writer) -> Copied:
        """See `Databases.copy`."""
        try:
            with closing(self._connected()) as connection:
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                connection.read_only = True
                tables = _tables(connection)
                for table, columns in tables.items():
                    self._copy_table(connection, archive, table, columns)
                partitions = _first(connection, tables, "dataflow_store", "partitions")
                revision = _first(connection, tables, _REVISION, "version_num")
        except psycopg.Error as error:
            raise self._unusable(error) from error
        return Copied(partitions, revision, tables)

    @staticmethod
    def _copy_table(
        connection: psycopg.Connection[Any], archive: Writer, table: str, columns: list[str]
    ) -> None:
        statement = sql.SQL("COPY {} ({}) TO STDOUT").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with (
            archive.compressed_part(table_part(table)) as write,
            connection.cursor() as cursor,
            cursor.copy(statement) as rows,
        ):
            for data in rows:
                write(bytes(data))

    def contents(self) -> dict[str, str]:
        """See `Databases.contents`."""
        try:
            with closing(self._connected()) as connection:
                made = _tables(connection)
                used = [
                    table
                    for table in _USED
                    if table in made
                    and connection.execute(
                        sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(table))
                    ).fetchone()
                    == (True,)
                ]
        except psycopg.Error as error:
            raise self._unusable(error) from error
        if not used:
            return {}
        tables = ", ".join(made)
        return {
            f"rows in the tables {', '.join(used)} of {self._name}":
            f"psql DATABASE --command 'DROP TABLE {tables} CASCADE'"
        }  # fmt: skip

    @contextmanager
    def restore(self, archive: Reader) -> Iterator["_Prepared"]:
        """See `Databases.restore`."""
        engine = engine_of(self._url)
        try:
            with engine.connect() as connection:
                transaction = connection.begin()
                try:
                    _fill(connection, archive)
                    yield _Prepared(connection, transaction.commit)
                finally:
                    if transaction.is_active:
                        transaction.rollback()
        except (psycopg.Error, sa.exc.SQLAlchemyError) as error:
            raise self._unusable(error) from error
        finally:
            engine.dispose()

    def _connected(self) -> psycopg.Connection[Any]:
        url = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        return psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S)

    def _unusable(self, error: Exception) -> Unusable:
        # Only the first line: the others can have rows, which are what people said.
        why = str(getattr(error, "orig", None) or error).strip().split("\n", 1)[0]
        return Unusable(f"{self._name} cannot be used: {why}")


class _Prepared:
    def __init__(self, connection: sa.Connection, commit: Callable[[], None]) -> None:
        self._connection = connection
        self._commit = commit

    def follow(self, streams: Mapping[str, Recreated]) -> None:
        """See `Prepared.follow`."""
        if sa.inspect(self._connection).has_table("dataflow_partitions"):
            found = self._connection.execute(
                sa.text("SELECT number, position FROM dataflow_partitions")
            ).all()
            for number, position in found:
                self._connection.execute(
                    sa.text(
                        f"UPDATE dataflow_partitions SET {FREE}, position = :position"  # noqa: S608
                        " WHERE number = :number"
                    ),
                    {"position": moved(position, streams), "number": number},
                )
        if revision_of(self._connection) is not None:
            for stream, one in streams.items():
                self._connection.execute(
                    sa.update(positions)
                    .where(
                        positions.c.stream == stream, positions.c.stream_created_at == one.before
                    )
                    .values(stream_created_at=one.now)
                )

    def commit(self) -> None:
        """See `Prepared.commit`."""
        self._commit()


def _fill(connection: sa.Connection, archive: Reader) -> None:
    manifest = archive.manifest
    # They have no rows (`contents`), and may be those of another version.
    for table in (*postgres.TABLES, *metadata.tables, _REVISION):
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")
    if manifest.revision is not None:
        upgrade(connection, manifest.revision)
        connection.exec_driver_sql(f"DELETE FROM {_REVISION}")  # noqa: S608
    if manifest.tables.keys() & set(postgres.TABLES):
        connection.exec_driver_sql(postgres.SCHEMA)
    raw: Any = connection.connection.driver_connection
    for table, columns in manifest.tables.items():
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with raw.cursor() as cursor, cursor.copy(statement) as rows:
            for data in archive.unpacked(table_part(table)):
                rows.write(data)


def _tables(connection: psycopg.Connection[Any]) -> dict[str, list[str]]:
    """Our tables that exist, and their columns."""
    ours = {*postgres.TABLES, *metadata.tables, _REVISION}
    found: dict[str, list[str]] = {}
    for table, column in connection.execute(_COLUMNS):
        if table in ours:
            found.setdefault(table, []).append(column)
    return found


def _first(
    connection: psycopg.Connection[Any], tables: Mapping[str, list[str]], table: str, column: str
) -> Any:
    if table not in tables:
        return None
    row = connection.execute(
        sql.SQL("SELECT {} FROM {}").format(sql.Identifier(column), sql.Identifier(table))
    ).fetchone()
    return None if row is None else row[0]
