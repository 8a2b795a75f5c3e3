"""What a person asked, was answered and rated, from the database, also as Markdown.

Reads only. It must never show one person's words to another.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from shared.database.tables import answers, events, questions, ratings
from shared.messages import TITLE

Entry = dict[str, Any]
"""A question with its answer and rating, as it is printed with `--json`."""

LEFT_OUT: Final = "(Older ones are left out: the file would be too large.)"


def entries(
    connection: sa.Connection,
    user: str,
    since: datetime | None = None,
    *,
    newest: int | None = None,
) -> list[Entry]:
    """The questions and answers of one person, oldest first; with `newest`, at most this many."""
    asked = questions.select().where(questions.c.user_id == user)
    answered = answers.select().where(answers.c.user_id == user)
    if since is not None:
        asked = asked.where(questions.c.said_at >= since)
        answered = answered.where(answers.c.said_at >= since)
    if newest is not None:
        asked = asked.order_by(questions.c.said_at.desc()).limit(newest)
        answered = answered.order_by(answers.c.said_at.desc()).limit(newest)
    question_of = {row.prompt_id: row for row in connection.execute(asked)}
    answer_of = {row.prompt_id: row for row in connection.execute(answered)}
    mine = sa.select(ratings).where(ratings.c.user_id == user)
    rating_of = {row.prompt_id: row for row in connection.execute(mine)}
    found = [
        entry_of(question_of.get(key), answer_of.get(key), rating_of.get(key))
        for key in question_of | answer_of
    ]
    found.sort(key=lambda entry: (entry["said_at"], entry["prompt_id"]))
    return found if newest is None else found[-newest:]


def configured(connection: sa.Connection, user: str, begins: str) -> Iterable[str]:
    """What a person has configured, oldest first: the texts that begin with this."""
    found = (
        sa.select(events.c.text)
        .where(events.c.user_id == user, events.c.kind == "configure")
        .where(events.c.text.startswith(begins))
        .order_by(events.c.stored_at)
    )
    return connection.execute(found).scalars()


def titles(connection: sa.Connection, user: str) -> dict[str, str]:
    """The titles that a person gave to conversations, by their ids."""
    named = (
        line.removeprefix(TITLE).partition("=")
        for text in configured(connection, user, TITLE)
        for line in text.split("\n")
        if line.startswith(TITLE)
    )
    return {conversation: title for conversation, _, title in named}


def markdown(user: str, found: Iterable[Entry], *, limit_bytes: int | None = None) -> str:
    """The entries as a Markdown document. With a limit, the oldest ones are left out."""
    parts = ["\n".join(lines_of(entry)) for entry in found]
    head = f"# What {user} asked\n"
    if limit_bytes is not None:
        left = limit_bytes - len(f"{head}\n{LEFT_OUT}\n".encode())
        kept = len(parts)
        while kept and (left := left - len(parts[kept - 1].encode()) - 1) >= 0:
            kept -= 1
        if kept:
            parts = [f"{LEFT_OUT}\n", *parts[kept:]]
    return "\n".join([head, *parts])


def entry_of(
    asked: sa.Row[Any] | None, answered: sa.Row[Any] | None, rating: sa.Row[Any] | None
) -> Entry:
    """One entry, of the rows that there are."""
    entry: Entry = {"prompt_id": "", "said_at": None, "deleted": False}
    if asked is not None:
        entry |= {
            "prompt_id": asked.prompt_id, "user": asked.user_id, "said_at": _instant(asked.said_at),
            "kind": asked.kind, "question": asked.text, "replaces": asked.replaces,
            "place": "/".join(filter(None, (asked.platform, asked.space, asked.channel))),
            "thread": asked.thread,
            "attachments": [file["name"] for file in asked.attachments or ()],
            "deleted": asked.deleted_at is not None,
        }  # fmt: skip
    if answered is not None:
        entry |= {
            "prompt_id": answered.prompt_id, "user": answered.user_id,
            "said_at": _instant(answered.said_at), "outcome": answered.outcome,
            "answer": answered.text, "model": answered.model,
            "answered_at": _instant(answered.answered_at),
            # As it was answered: an edited question, or the one that was asked again.
            "question": answered.prompt_text or entry.get("question"),
        }  # fmt: skip
    if rating is not None:
        entry |= {
            "prompt_id": rating.prompt_id, "rated_by": rating.user_id, "thumb": rating.thumb,
            "reason": rating.reason, "correction": rating.correction,
        }  # fmt: skip
        entry["said_at"] = entry["said_at"] or _instant(rating.rated_at)
    return entry


def lines_of(entry: Entry) -> Iterator[str]:
    """One entry as lines of Markdown."""
    model = f", {_text(entry['model'])}" if entry.get("model") else ""
    place = f", {_text(entry['place'])}" if entry.get("place") else ""
    yield f"## {entry['said_at']}{place}{model}\n"
    if entry["deleted"]:
        yield "(deleted)\n"
        return
    yield from _quoted(entry.get("question") or "(question not recorded)")
    for name in entry.get("attachments", ()):
        yield f"> [file: {_text(name)}]"
    yield ""
    if (outcome := entry.get("outcome")) is None:
        yield "(not answered)\n"
    else:
        mark = "" if outcome == "answered" else f"({outcome}) "
        yield f"{mark}{_text(entry['answer'])}\n"
    if entry.get("thumb"):
        reason = f": {_text(entry['reason'])}" if entry["reason"] else ""
        yield f"Rated {entry['thumb']} by {entry['rated_by']}{reason}\n"
    if entry.get("correction"):
        yield "It should have been:\n"
        yield from _quoted(entry["correction"])
        yield ""


def _quoted(text: str) -> Iterator[str]:
    return (f"> {line}" for line in _text(text).split("\n"))


def _text(text: str | None) -> str:
    return text or ""


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
