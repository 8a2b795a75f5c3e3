"""The people who are left out, and the entry by which `threadwax forget` finds a rehearsal.

It must never change what the recorder wrote.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from ops.rehearse.results_file import (
    PAGE_FILE,
    REPORT_FILE,
    Choice,
    ResultsFile,
    choice_in,
    write_choice,
)
from shared.database.engine import database_url, engine_of, writing
from shared.database.tables import export_people, exports, people
from shared.settings import Settings

FORMAT: Final = "rehearsal"
SCHEMA_VERSION: Final = 1


def left_out(connection: sa.Connection) -> frozenset[str]:
    """The people who opted out or asked to be forgotten."""
    chosen = sa.or_(people.c.training_allowed.is_(sa.false()), people.c.forgotten_at.is_not(None))
    return frozenset(connection.scalars(sa.select(people.c.user_id).where(chosen)))


def drop(settings: Settings, folder: Path, users: frozenset[str]) -> None:
    """Removes people who have decided so since from a rehearsal, with their words.

    The report is removed with them, until the rehearsal writes it again.

    Raises:
        WrongUsage: this version cannot read what the folder holds.
        sqlalchemy.exc.DBAPIError: the database cannot be written.
    """
    choice = choice_in(folder)
    if choice is None or users.isdisjoint(chosen.user for chosen in choice.chosen):
        return
    file = ResultsFile(folder)
    try:
        file.drop_people(users)
        for name in (PAGE_FILE, REPORT_FILE):
            (folder / name).unlink(missing_ok=True)
        left = replace(choice, chosen=tuple(one for one in choice.chosen if one.user not in users))
        register(settings, folder, left, file.sha256)
        write_choice(folder, left)  # last, so that a crash before this repeats everything
    finally:
        file.close()


def register(settings: Settings, folder: Path, choice: Choice, sha256: str) -> None:
    """Enters a rehearsal among the exports, with the people whose messages are in it.

    Raises:
        sqlalchemy.exc.DBAPIError: the database cannot be written.
    """
    path = str(folder.absolute())
    id_ = f"{FORMAT}:{path}"
    users = {chosen.user for chosen in choice.chosen}
    engine = engine_of(database_url(settings))
    try:
        with writing(engine) as connection:
            _remove(connection, id_)
            connection.execute(
                exports.insert().values(
                    id=id_, path=path, format=FORMAT, created_at=datetime.now(UTC), sha256=sha256,
                    examples=len(choice.chosen), schema_version=SCHEMA_VERSION,
                )
            )  # fmt: skip
            _add_people(connection, id_, users)
    finally:
        engine.dispose()


def _remove(connection: sa.Connection, id_: str) -> None:
    connection.execute(exports.delete().where(exports.c.id == id_))
    connection.execute(export_people.delete().where(export_people.c.export_id == id_))


def _add_people(connection: sa.Connection, id_: str, users: Iterable[str]) -> None:
    rows = [{"export_id": id_, "user_id": user} for user in sorted(users)]
    if rows:
        connection.execute(export_people.insert(), rows)
