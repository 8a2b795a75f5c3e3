"""What the commands share that read the recorder's database: opening it, and their options.

Reads only. SQLAlchemy is imported when a command runs, not when the command line is read.
"""

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    import sqlalchemy as sa

    from shared.settings import Settings

T = TypeVar("T")

DAYS: Final = re.compile(r"(\d{1,5})d")


class Since(click.ParamType[datetime]):
    """A date, or a number of days before now."""

    name = "when"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """The instant that the option names, in UTC."""
        if isinstance(value, datetime):
            return value
        if found := DAYS.fullmatch(str(value)):
            return datetime.now(UTC) - timedelta(days=int(found[1]))
        try:
            date = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is neither a date such as 2026-11-26 nor 7d", param, ctx)
        return date if date.tzinfo else date.replace(tzinfo=UTC)


since = click.option("--since", type=Since(), help="Only what came after: 2026-11-26, or 7d.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def read(work: "Callable[[sa.Connection, Settings], T]") -> T:
    """Runs `work` on the database of the settings; ends the command if there is nothing to read."""

    def connected(engine: "sa.Engine", settings: "Settings") -> T:
        with engine.connect() as connection:
            return work(connection, settings)

    return with_engine(connected)


def with_engine(work: "Callable[[sa.Engine, Settings], T]") -> T:
    """Does the same as `read` for work that needs more than one connection."""
    import sqlalchemy as sa

    from ops.settings import read as read_settings
    from shared.database.engine import BadDatabaseUrl, NoDatabase, OlderDatabase, reading_engine
    from shared.settings import Settings

    settings = read_settings(Settings)
    try:
        engine = reading_engine(settings)
        try:
            return work(engine, settings)
        finally:
            engine.dispose()
    except (BadDatabaseUrl, NoDatabase, OlderDatabase) as error:
        click.echo(str(error), err=True)
    except sa.exc.DBAPIError as error:
        why = str(error.orig).split("\n", 1)[0]
        click.echo(f"the database does not answer: {why}. `threadwax doctor` checks it", err=True)
    sys.exit(1)


def printable(text: str | None) -> str:
    """Text of people and models for standard output, without control characters."""
    from bots.terminal.sanitizing import sanitized

    return sanitized(text or "")


def instant(at: datetime | None) -> str | None:
    """An instant for JSON."""
    return None if at is None else at.isoformat()
