"""Makes the events of a page. Pure, except for the clock and random ids.

A conversation is a thread of the one place that a person has here, which nobody else can read.
"""

import secrets
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from bots.web.turns import SENDING, Growing, Turn
from shared.messages import Again, Ask, Edited, Event, Place

E = TypeVar("E", bound=Event)

ID_BYTES: Final = 10
CONVERSATION_BYTES: Final = 6
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


def turn_of(asked: Ask, files: tuple[str, ...] = ()) -> Turn:
    """The turn of a new question."""
    return Turn(asked.id, asked.place.thread, asked.text, asked.said_at, _UNSTORED, files)


def turn_in_place_of(before: Turn, asked: Again | Edited) -> Turn:
    """The turn of a question that is edited, or answered again."""
    question = asked.text if isinstance(asked, Edited) else before.question
    return Turn(
        asked.id, before.conversation, question, asked.said_at, _UNSTORED, before.files, before.id
    )
