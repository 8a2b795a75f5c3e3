"""`threadwax history` and `threadwax ratings`: what was asked, answered and rated.

Reads only. It must never show one person's words under the name of another.
"""

import json
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import click
import sqlalchemy as sa

from ops.recorded import instant, printable, read
from shared import names
from shared.database.tables import answers, questions, ratings
from shared.settings import Settings

Entry = dict[str, Any]
"""A question with its answer and rating, as it is printed with `--json`."""


def history(user: str, since: datetime | None, *, as_json: bool) -> None:
    """Prints what one person asked and was answered, oldest first."""
    try:
        names.split_user(user)
    except names.BadName:
        click.echo(
            f"{user!r} is no user: write it as platform:name, such as terminal:ada. "
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
    click.echo(f"# What {user} asked\n")
    for entry in found:
        click.echo("\n".join(_markdown(entry)))


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
        click.echo("\n".join(_markdown(entry)))


def entries(connection: sa.Connection, user: str, since: datetime | None) -> list[Entry]:
    """The questions and answers of one person, oldest first."""
    asked = questions.select().where(questions.c.user_id == user)
    answered = answers.select().where(answers.c.user_id == user)
    if since is not None:
        asked = asked.where(questions.c.said_at >= since)
        answered = answered.where(answers.c.said_at >= since)
    question_of = {row.prompt_id: row for row in connection.execute(asked)}
    answer_of = {row.prompt_id: row for row in connection.execute(answered)}
    mine = sa.select(ratings).where(ratings.c.user_id == user)
    rating_of = {row.prompt_id: row for row in connection.execute(mine)}
    found = [
        _entry(question_of.get(key), answer_of.get(key), rating_of.get(key))
        for key in question_of | answer_of
    ]
    return sorted(found, key=lambda entry: (entry["said_at"], entry["prompt_id"]))


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
        found.append(_entry(asked, answered, row))
    return found


def _entry(
    asked: sa.Row[Any] | None, answered: sa.Row[Any] | None, rating: sa.Row[Any] | None
) -> Entry:
    entry: Entry = {"prompt_id": "", "said_at": None, "deleted": False}
    if asked is not None:
        entry |= {
            "prompt_id": asked.prompt_id, "user": asked.user_id, "said_at": instant(asked.said_at),
            "kind": asked.kind, "question": asked.text, "replaces": asked.replaces,
            "place": "/".join(filter(None, (asked.platform, asked.space, asked.channel))),
            "attachments": [file["name"] for file in asked.attachments or ()],
            "deleted": asked.deleted_at is not None,
        }  # fmt: skip
    if answered is not None:
        entry |= {
            "prompt_id": answered.prompt_id, "user": answered.user_id,
            "said_at": instant(answered.said_at), "outcome": answered.outcome,
            "answer": answered.text, "model": answered.model,
            "answered_at": instant(answered.answered_at),
            # As it was answered: an edited question, or the one that was asked again.
            "question": answered.prompt_text or entry.get("question"),
        }  # fmt: skip
    if rating is not None:
        entry |= {
            "prompt_id": rating.prompt_id, "rated_by": rating.user_id, "thumb": rating.thumb,
            "reason": rating.reason, "correction": rating.correction,
        }  # fmt: skip
        entry["said_at"] = entry["said_at"] or instant(rating.rated_at)
    return entry


def _markdown(entry: Entry) -> Iterable[str]:
    model = f", {printable(entry['model'])}" if entry.get("model") else ""
    place = f", {printable(entry['place'])}" if entry.get("place") else ""
    yield f"## {entry['said_at']}{place}{model}\n"
    if entry["deleted"]:
        yield "(deleted)\n"
        return
    yield from _quoted(entry.get("question") or "(question not recorded)")
    for name in entry.get("attachments", ()):
        yield f"> [file: {printable(name)}]"
    yield ""
    if (outcome := entry.get("outcome")) is None:
        yield "(not answered)\n"
    else:
        mark = "" if outcome == "answered" else f"({outcome}) "
        yield f"{mark}{printable(entry['answer'])}\n"
    if entry.get("thumb"):
        reason = f": {printable(entry['reason'])}" if entry["reason"] else ""
        yield f"Rated {entry['thumb']} by {entry['rated_by']}{reason}\n"
    if entry.get("correction"):
        yield "It should have been:\n"
        yield from _quoted(entry["correction"])
        yield ""


def _quoted(text: str) -> Iterable[str]:
    return (f"> {line}" for line in printable(text).split("\n"))
