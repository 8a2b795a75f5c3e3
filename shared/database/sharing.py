"""The links with which people share conversations, from the database.

Reads only. It must never show more than was there when the link was made, nor whose it is. A link's
token is in no database: only its hash is.
"""

from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from shared.database.history import Entry, configured, entries, titles
from shared.database.tables import events
from shared.messages import SHARE, SHARED, UNSHARED

SHOWN: Final[tuple[str, ...]] = (
    "prompt_id", "said_at", "deleted", "question", "replaces", "thread", "attachments", "outcome",
    "answer", "model",
)  # fmt: skip
"""What others see of an entry."""


def shares(connection: sa.Connection, user: str) -> dict[str, str]:
    """What the links of a person show, by the hashes of their tokens, except revoked ones."""
    found = dict(map(_share_in, configured(connection, user, SHARE)))
    return {token_hash: target for token_hash, target in found.items() if target}


class Shared(NamedTuple):
    """What a link shows: entries as in `shared.database.history`, oldest first."""

    entries: list[Entry]
    title: str


def shared(connection: sa.Connection, token_hash: str) -> Shared | None:
    """What a link shows; None if it shows nothing (any more).

    As it was when the link was made: what was asked later is not in it, and what was deleted or
    erased since is not either.
    """
    made = _event(connection, f"{SHARED}{token_hash}")
    if made is None:
        return None
    revoked = _event(connection, f"{UNSHARED}{token_hash}")
    if revoked is not None and revoked.user_id == made.user_id:
        return None
    known_as, target = _share_in(made.text)
    if known_as != token_hash or not target:
        return None
    conversation, _, prompt_id = target.partition("/")
    found = [
        {key: entry[key] for key in SHOWN if key in entry}
        for entry in entries(connection, made.user_id)
        if _is_shared(entry, conversation, prompt_id, made.said_at)
    ]
    title = "" if prompt_id else titles(connection, made.user_id).get(conversation, "")
    return Shared(found, title) if found else None


def _event(connection: sa.Connection, id_: str) -> sa.Row[Any] | None:
    found = events.select().where(events.c.id == id_, events.c.kind == "configure")
    return connection.execute(found).one_or_none()


def _share_in(text: str) -> tuple[str, str]:
    token_hash, _, target = text.removeprefix(SHARE).partition("=")
    return token_hash, target


def _is_shared(entry: Entry, conversation: str, prompt_id: str, until: datetime) -> bool:
    if entry.get("thread") != conversation or entry["deleted"] or not entry["said_at"]:
        return False
    if prompt_id and entry["prompt_id"] != prompt_id:
        return False
    return datetime.fromisoformat(entry["said_at"]) <= until
