"""Parses the events in stored messages, and says what is wrong with the unreadable ones.

Pure. A reason must never quote the message: it is logged, and sent back to the sender.
"""

from typing import Annotated, Final, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shared.messages import AnyEvent, Attachment, Event, Place, Quote

COMPLAINTS_READ: Final = 100

_FIELDS: Final = frozenset(
    field
    for message in (*get_args(AnyEvent), Place, Quote, Attachment)
    for field in message.model_fields
)


class Unreadable(Exception):
    """A stored message that is not an event. `sender` says whom to tell, if that is known."""

    def __init__(self, reason: str, sender: Event | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sender = sender


class _Head(BaseModel):
    """The two fields that say how to read the others."""

    model_config = ConfigDict(extra="ignore", strict=True)
    v: int
    kind: str


_EVENT: TypeAdapter[AnyEvent] = TypeAdapter(Annotated[AnyEvent, Field(discriminator="kind")])


def event_of(data: bytes, user: str) -> AnyEvent:
    """The event in a stored message on the subject of `user`.

    Raises:
        Unreadable: with a reason for a person and, if possible, the sender.
    """
    try:
        event = _EVENT.validate_json(data)
    except ValidationError as error:
        reason = _version_complaint(data) or _complaint(error)
        raise Unreadable(reason, sender_of(data, user)) from None
    if event.user != user:
        # A client that may publish on one user's subject must not speak for another user.
        raise Unreadable("the message names another user than its subject")
    return event


def _version_complaint(data: bytes) -> str | None:
    try:
        head = _Head.model_validate_json(data)
    except ValidationError:
        return None
    if head.v == 1:
        return None
    return (
        f"version {head.v} of a message is unknown here (this side reads version 1): "
        "upgrade the dataflow before the adapters"
    )


def _complaint(error: ValidationError) -> str:
    """What is wrong first, without any text of the message."""
    if error.error_count() > COMPLAINTS_READ:
        return "too many fields are wrong"  # reading all of them would take too long
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "union_tag_invalid":
        return "kind: this version does not know it"
    where = ".".join(str(part) for part in first["loc"] if part in _FIELDS or part.__class__ is int)
    return f"{where}: {first['msg']}" if where else first["msg"]


def sender_of(data: bytes, user: str) -> Event | None:
    """Where to answer an unreadable message of this user, if that is known."""

    class Sender(Event):
        v: int = 1  # type: ignore[assignment]  # any version: it only gets a notice

    try:
        sender = Sender.model_validate_json(data)
    except ValidationError:
        return None
    return sender if sender.user == user else None
