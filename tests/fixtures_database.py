"""Databases for tests: a SQLite file and a database of a real PostgreSQL, each empty.

One PostgreSQL per pytest process. `own_postgres` is for tests that stop it.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import Postgres, binaries


def _started() -> Postgres:
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed: tests/postgres_install.sh")
    server = Postgres()
    server.start()
    return server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server that tests share. Never stop it."""
    server = _started()
    yield server
    server.close()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server of this test's own."""
    server = _started()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What to set DATABASE_URL to: an empty database, on each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'database' / 'test.sqlite'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.create(f"test-{uuid.uuid4().hex}")
