"""`threadwax history` and `threadwax ratings`: what was asked, answered and rated.

Reads only. It must never show one person's words under the name of another.
"""

import json
import sys
from collections.abc import Iterable
from datetime import datetime

import click
import sqlalchemy as sa

from ops.recorded import printable, read
from shared import user_names
from shared.database.history import Entry, entries, entry_of, lines_of, markdown
from shared.database.tables import answers, questions, ratings
from shared.settings import Settings


def history(user: str, since: datetime | None, *, as_json: bool) -> None:
    """Prints what one person asked and was answered, oldest first."""
    try:
        user_names.split_user(user)
    except user_names.BadName:
        click.echo(
            f"{user!r} is not a user: write it as platform:name, such as terminal:ada. "
            "`threadwax usage --by user` lists them",
            err=True,
        )
        sys.exit(2)

    def work(connection: sa.Connection, settings: Settings) -> list[Entry]:
        del settings
        return entries(connection, user, since)

    found = read(work)
    if as_json:
        click.echo(json.dumps({"user": user, "history": found}, indent=2, ensure_ascii=False))
        return
    if not found:
        click.echo(f"nothing is recorded of {user}", err=True)
        sys.exit(1)
    click.echo(printable(markdown(user, found)))


def rated(since: datetime | None, *, everything: bool, as_json: bool) -> None:
    """Prints the answers that were rated down, newest first; with `everything`, all rated ones."""

    def work(connection: sa.Connection, settings: Settings) -> list[Entry]:
        del settings
        chosen = [] if everything else [ratings.c.thumb == "down"]
        if since is not None:
            chosen.append(ratings.c.rated_at >= since)
        return _rated(connection, chosen)

    found = read(work)
    if as_json:
        click.echo(json.dumps({"ratings": found}, indent=2, ensure_ascii=False))
        return
    if not found:
        click.echo("nothing was rated down" if not everything else "nothing was rated", err=True)
        return
    for entry in found:
        click.echo(printable("\n".join(lines_of(entry))))


def _rated(connection: sa.Connection, chosen: Iterable[sa.ColumnElement[bool]]) -> list[Entry]:
    statement = (
        ratings.select()
        .where(*chosen)
        .order_by(ratings.c.rated_at.desc(), ratings.c.prompt_id, ratings.c.user_id)
    )
    rows = connection.execute(statement).all()
    found = []
    for row in rows:
        asked = connection.execute(
            questions.select().where(questions.c.prompt_id == row.prompt_id)
        ).one_or_none()
        answered = connection.execute(
            answers.select().where(answers.c.prompt_id == row.prompt_id)
        ).one_or_none()
        found.append(entry_of(asked, answered, row))
    return found
