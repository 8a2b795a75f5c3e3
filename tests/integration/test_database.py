"""The database's tables and engine, on SQLite and on a real PostgreSQL."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from pydantic import SecretStr

from shared.database.engine import (
    BadDatabaseUrl,
    NoDatabase,
    OlderDatabase,
    database_url,
    engine_of,
    reading_engine,
    without_password,
    writing,
)
from shared.database.migrate import NEWEST, NewerDatabase, migrate, revision_of
from shared.database.tables import metadata, people
from shared.database.upgrading import revisions
from shared.settings import Settings

PROGRAM = """
import sys
from shared.database.engine import database_url, engine_of
from shared.database.migrate import migrate
from shared.settings import Settings
sys.stdin.readline()
print(migrate(engine_of(database_url(Settings()))))
"""


@pytest.fixture(name="engine")
def _engine(database_url: str) -> Iterator[sa.Engine]:
    engine = engine_of(_settings(database_url))
    yield engine
    engine.dispose()


def _settings(url: str) -> sa.URL:
    return database_url(Settings(DATABASE_URL=SecretStr(url)))


def test_the_migrations_make_the_tables_of_this_version(engine: sa.Engine) -> None:
    assert migrate(engine) == migrate(engine) != ""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        assert {table.name for table in metadata.sorted_tables} <= set(
            sa.inspect(connection).get_table_names()
        )


def test_the_newest_revision_is_the_last_one_of_the_scripts() -> None:
    assert max(revisions()) == NEWEST


def test_a_start_on_the_newest_tables_does_without_alembic(
    engine: sa.Engine, database_url: str
) -> None:
    migrate(engine)
    code = PROGRAM + "assert 'alembic' not in sys.modules\n"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"DATABASE_URL": database_url}, input=b"go\n"
    )


def test_processes_that_migrate_at_once_wait_for_each_other(
    engine: sa.Engine, database_url: str
) -> None:
    racing = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM], text=True, env={"DATABASE_URL": database_url},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]  # fmt: skip
    for process in racing:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [(*process.communicate(timeout=100), process.returncode) for process in racing]
    with engine.connect() as connection:
        revision = revision_of(connection)
    assert [(out.strip(), code) for out, _, code in ended] == [(revision, 0)] * 3, ended


def test_a_failed_migration_changes_nothing(engine: sa.Engine) -> None:
    with writing(engine) as connection:
        connection.execute(sa.text("CREATE TABLE ratings (mine INTEGER)"))
    with pytest.raises(sa.exc.SQLAlchemyError):
        migrate(engine)
    assert set(sa.inspect(engine).get_table_names()) <= {"ratings", "alembic_version"}
    with engine.connect() as connection:
        assert revision_of(connection) is None


def test_a_database_of_a_newer_version_is_refused(engine: sa.Engine) -> None:
    migrate(engine)
    with writing(engine) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'of 2030'"))
        connection.execute(sa.text("ALTER TABLE people ADD COLUMN nickname TEXT"))
    with pytest.raises(NewerDatabase, match="of 2030"):
        migrate(engine)


@pytest.mark.parametrize("other", ["0001", "of 2030"])
def test_a_database_of_two_revisions_is_refused(engine: sa.Engine, other: str) -> None:
    """Two versions have changed it, or a backup was restored over it."""
    migrate(engine)
    with writing(engine) as connection:
        connection.execute(sa.text("INSERT INTO alembic_version VALUES (:other)"), {"other": other})
    with pytest.raises((NewerDatabase, CommandError), match=r"of 2030|more than one head|overlap"):
        migrate(engine)


def test_instants_come_back_in_utc(engine: sa.Engine) -> None:
    migrate(engine)
    said = datetime(2026, 11, 26, 1, 2, 3, 456789, tzinfo=timezone(timedelta(hours=5)))
    with writing(engine) as connection:
        connection.execute(people.insert().values(user_id="terminal:ada", forgotten_at=said))
    with engine.connect() as connection:
        stored = connection.execute(sa.select(people.c.forgotten_at)).scalar_one()
    assert stored == said
    assert stored.tzinfo is UTC
    naive = people.insert().values(user_id="terminal:bob", forgotten_at=said.replace(tzinfo=None))
    with writing(engine) as connection, pytest.raises(sa.exc.StatementError, match="time zone"):
        connection.execute(naive)


def test_a_transaction_that_fails_leaves_nothing(engine: sa.Engine) -> None:
    migrate(engine)
    with pytest.raises(sa.exc.IntegrityError):
        _insert_twice(engine)
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(people)).scalar() == 0


def _insert_twice(engine: sa.Engine) -> None:
    with writing(engine) as connection:
        for _ in range(2):
            connection.execute(people.insert().values(user_id="terminal:ada"))


def test_sqlite_files_are_private_and_keep_no_deleted_words(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "own.sqlite"
    engine = engine_of(_settings(f"sqlite:///{file}"))
    migrate(engine)
    with writing(engine) as connection:
        connection.execute(people.insert().values(user_id="terminal:xylophone" * 100))
        # A reader that is not done keeps the write-ahead log alive.
        assert {path.stat().st_mode & 0o777 for path in file.parent.iterdir()} == {0o600}
    assert file.parent.stat().st_mode & 0o777 == 0o700
    with writing(engine) as connection:
        connection.execute(people.delete())
    with engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    assert b"xylophone" not in b"".join(path.read_bytes() for path in file.parent.iterdir())


@pytest.mark.parametrize(
    ("url", "used"),
    [
        ("postgres://me:s3cret@db.example/bot", "postgresql+psycopg://me:s3cret@db.example/bot"),
        ("postgresql://me@db:5433/bot", "postgresql+psycopg://me@db:5433/bot"),
        ("postgresql+psycopg2://me@db/bot", "postgresql+psycopg://me@db/bot"),
        ("sqlite:////var/lib/bot.sqlite", "sqlite:////var/lib/bot.sqlite"),
    ],
)
def test_the_urls_that_people_write(url: str, used: str) -> None:
    assert _settings(url).render_as_string(hide_password=False) == used
    assert "s3cret" not in without_password(_settings(url))


@pytest.mark.parametrize(
    "url", ["mysql://me@db/bot", "sqlite://", "bot.sqlite", "sqlite:///:memory:"]
)
def test_a_url_that_does_not_work_here_is_refused(url: str) -> None:
    with pytest.raises(BadDatabaseUrl, match="postgresql://user:password@host/database"):
        _settings(url)


def test_without_a_recorder_there_is_nothing_to_read(engine: sa.Engine, database_url: str) -> None:
    settings = Settings(DATABASE_URL=SecretStr(database_url))
    with pytest.raises(NoDatabase, match="threadwax recorder"):
        reading_engine(settings)
    migrate(engine)
    reading_engine(settings).dispose()
    with writing(engine) as connection:
        connection.execute(sa.text("DROP TABLE background_usage"))
    with pytest.raises(OlderDatabase, match="start `threadwax up`"):
        reading_engine(settings)
