"""Makes the events of a page. Pure, except for the clock and random ids.

A conversation is a thread of the one place that a person has here, which nobody else can read.
"""

import hashlib
import secrets
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from bots.web.turns import SENDING, Growing, Turn
from shared.messages import SHARE, SHARED, UNSHARED, Again, Ask, Configure, Edited, Event, Place

E = TypeVar("E", bound=Event)

ID_BYTES: Final = 10
CONVERSATION_BYTES: Final = 6
TOKEN_BYTES: Final = 32
_UNSTORED: Final = Growing(status=SENDING)


def new_conversation() -> str:
    """The id of a conversation that nobody has begun."""
    return secrets.token_hex(CONVERSATION_BYTES)


def event(kind: type[E], user: str, conversation: str, **fields: Any) -> E:
    """An event of a person in a conversation, now."""
    place = Place(platform="web", channel="web", thread=conversation, audience="direct")
    return kind(
        id=f"web-{secrets.token_hex(ID_BYTES)}", user=user, place=place,
        said_at=datetime.now(UTC), **fields,
    )  # fmt: skip


def new_link() -> tuple[str, str]:
    """The token of a new link, which nobody can guess, and the hash that is stored."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    return token, hash_of(token)


def hash_of(token: str) -> str:
    """The hash of a link's token."""
    return hashlib.sha256(token.encode()).hexdigest()


def share(user: str, conversation: str, token_hash: str, prompt_id: str = "") -> Configure:
    """Makes a link to a conversation, or to one answer in it."""
    target = f"{conversation}/{prompt_id}" if prompt_id else conversation
    made = event(Configure, user, conversation, settings={f"{SHARE}{token_hash}": target})
    return made.model_copy(update={"id": f"{SHARED}{token_hash}"})


def revoke(user: str, token_hash: str) -> Configure:
    """Makes a link show nothing any more."""
    made = event(Configure, user, "", settings={f"{SHARE}{token_hash}": ""})
    return made.model_copy(update={"id": f"{UNSHARED}{token_hash}"})


def turn_of(asked: Ask, files: tuple[str, ...] = ()) -> Turn:
    """The turn of a new question."""
    return Turn(asked.id, asked.place.thread, asked.text, asked.said_at, _UNSTORED, files)


def turn_in_place_of(before: Turn, asked: Again | Edited) -> Turn:
    """The turn of a question that is edited, or answered again."""
    question = asked.text if isinstance(asked, Edited) else before.question
    return Turn(
        asked.id, before.conversation, question, asked.said_at, _UNSTORED, before.files, before.id
    )
