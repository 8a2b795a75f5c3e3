"""The contracts between adapters and dataflow: what a person does, and what is answered.

Every message is JSON with a version `v`; unknown fields are ignored, so that each side can be
upgraded alone. The golden files in `tests/contract/golden` pin every version. Pure: no I/O.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from shared import names
from shared.text import Text

TEXT_LIMIT_CHARS: Final = 100_000
"""Longest text in one question. More is refused where it is typed, with a clear word."""

EVENT_LIMIT_BYTES: Final = 240_000
"""Largest event on the wire: the stream takes 256 KiB with subject and headers."""

REPLY_LIMIT_BYTES: Final = 500_000
"""Largest reply on the wire: the stream takes 512 KiB with subject and headers."""

NOTE_LIMIT_CHARS: Final = 500


def _user(value: str) -> str:
    names.split_user(value)
    return value


UserId = Annotated[str, AfterValidator(_user)]
PromptId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,200}$")]
Address = dict[str, Text]
"""Where the answer goes, in the platform's own words: only its adapter reads it."""


class Message(BaseModel):
    """A frozen value on the wire."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_timedelta="float")

    def wire(self) -> bytes:
        """The message as JSON in UTF-8."""
        return self.model_dump_json(exclude_defaults=False).encode()


class Place(Message):
    """Where something was said: one spot in one platform, and who can hear it there.

    `space` is the workspace or guild (empty where a platform has none), `channel` the
    conversation in it, `thread` the thread in that (empty outside threads). `alone`: people who
    come later cannot read what was said before, so nothing said here is used in a later answer.
    """

    platform: str
    space: str = ""
    channel: str
    thread: str = ""
    audience: Literal["direct", "private", "public"]
    alone: bool = Field(default=False, exclude_if=lambda alone: not alone)


class Quote(Message):
    """Somebody else's words that travel with a question: data, never instructions."""

    author: Text
    text: Text


class Attachment(Message):
    """A file that came with a question: `text` inline, or `blob`, its name for `blobs.py`.

    With neither, the model is told the file's name, and in `note` why it cannot read the file.
    """

    name: Text
    media_type: Text
    text: Text | None = None
    blob: str | None = None
    note: Text = Field(default="", max_length=NOTE_LIMIT_CHARS, exclude_if=lambda note: not note)


class Event(Message):
    """What a person did, in that person's one ordered stream.

    `id` is derived from the platform's own, so that the same event has the same id however often
    it is delivered. `said_at` is the platform's time stamp, which orders a user's questions.
    """

    v: Literal[1] = 1
    id: PromptId
    user: UserId
    place: Place
    address: Address = Field(default_factory=dict)
    said_at: AwareDatetime


class Ask(Event):
    """A question. `persona` replaces the system prompt and `model` the model for this place."""

    kind: Literal["ask"] = "ask"
    text: Text = Field(max_length=TEXT_LIMIT_CHARS)
    attachments: tuple[Attachment, ...] = ()
    quotes: tuple[Quote, ...] = ()
    persona: Text | None = None
    model: Text | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Ask":
        if not self.text.strip() and not self.attachments:
            raise ValueError("the message is empty")
        return self


class Stop(Event):
    """Stop answering: the named question, or all that is unanswered in this thread."""

    kind: Literal["stop"] = "stop"
    prompt_id: PromptId | None = None


class Reset(Event):
    """Forget what could be recalled in this place."""

    kind: Literal["reset"] = "reset"


class Rate(Event):
    """A thumb on an answer; `none` takes it back."""

    kind: Literal["rate"] = "rate"
    prompt_id: PromptId
    thumb: Literal["up", "down", "none"]


class Again(Event):
    """Answer a question anew; the new answer has this event's id."""

    kind: Literal["again"] = "again"
    prompt_id: PromptId


class Edited(Event):
    """A question has another text now. `ask_again`: an answered one is answered anew."""

    kind: Literal["edited"] = "edited"
    prompt_id: PromptId
    text: Text = Field(max_length=TEXT_LIMIT_CHARS)
    ask_again: bool = False


class Deleted(Event):
    """A question was withdrawn."""

    kind: Literal["deleted"] = "deleted"
    prompt_id: PromptId


class Forget(Event):
    """Erase all that is known of this user."""

    kind: Literal["forget"] = "forget"


class Configure(Event):
    """A user's own settings."""

    kind: Literal["configure"] = "configure"
    settings: dict[str, Text] = Field(default_factory=dict)


AnyEvent = Ask | Stop | Reset | Rate | Again | Edited | Deleted | Forget | Configure

Outcome = Literal["answered", "failed", "stopped", "refused", "withdrawn"]


class Usage(Message):
    """Tokens that the model counted. None: its endpoint does not report that number.

    `cached_tokens` are those of the prompt that came from the endpoint's cache; `reasoning_tokens`
    those of the completion that nobody is shown.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = Field(default=None, exclude_if=lambda count: count is None)
    reasoning_tokens: int | None = Field(default=None, exclude_if=lambda count: count is None)


# Whoever parses replies keeps none of their strings: by default pydantic itself would, the latest
# 16,384 short ones of the process, in 1.1 MB.
class Reply(Message, cache_strings="keys"):
    """The one answer to one prompt, as it stands in the journal.

    `text` is what the person reads: the answer, what was said before a stop, or the notice in
    plain words. `prompt_text` is the question as it was answered. `after` is the question of the
    same user whose reply comes before this one in the same thread; its reply is in the journal
    already. None for the first one, and in replies of older versions.
    """

    v: Literal[1] = 1
    prompt_id: PromptId
    user: UserId
    place: Place
    address: Address = Field(default_factory=dict)
    outcome: Outcome
    text: Text
    prompt_text: Text = ""
    model: Text = ""
    usage: Usage | None = None
    said_at: AwareDatetime
    answered_at: AwareDatetime
    after: PromptId | None = None


@dataclass(frozen=True, slots=True)
class Journaled:
    """A reply as the journal has it: only `shared.bus` makes one, from what the journal said.

    Code that takes one cannot be handed a reply that is not stored.
    """

    reply: Reply


class Partial(Message, cache_strings="keys"):
    """An answer while it grows: all its text so far. Lossy; the highest sequence counts.

    `after` is that of its reply. `status` says, in one plain sentence, why there is no text yet:
    the question is queued, or its model call is being retried. It is empty once there is text.
    `early`: another answer of the thread comes before this one, so this one must not begin here.
    """

    v: Literal[1] = 1
    prompt_id: PromptId
    user: UserId
    place: Place
    address: Address = Field(default_factory=dict)
    text: Text
    attempt: int
    sequence: int
    after: PromptId | None = None
    status: Text = Field(default="", max_length=NOTE_LIMIT_CHARS, exclude_if=lambda text: not text)
    early: bool = Field(default=False, exclude_if=lambda early: not early)


COMPLAINTS_READ: Final = 100

_FIELDS: Final = frozenset(
    field
    for message in (Ask, Stop, Reset, Rate, Again, Edited, Deleted, Forget, Configure, Place, Quote,
                    Attachment)
    for field in message.model_fields
)  # fmt: skip


class Unreadable(Exception):  # noqa: N818
    """A stored message that is not an event. `sender` is where to say so, if that could be read."""

    def __init__(self, reason: str, sender: Event | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sender = sender


class _Head(BaseModel):
    """The two fields that say how to read the rest."""

    model_config = ConfigDict(extra="ignore", strict=True)
    v: int
    kind: str


_EVENT: TypeAdapter[AnyEvent] = TypeAdapter(Annotated[AnyEvent, Field(discriminator="kind")])


def event_of(data: bytes, user: str) -> AnyEvent:
    """The event in a stored message on the subject of `user`.

    Raises:
        Unreadable: with the reason in words for a person, and the sender when there is one.
    """
    try:
        event = _EVENT.validate_json(data)
    except ValidationError as error:
        reason = _version_complaint(data) or _complaint(error)
        raise Unreadable(reason, sender_of(data, user)) from None
    if event.user != user:
        # Whoever may publish on one user's subject must not speak for another.
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
    """What is wrong, without a word of the message: the reason is logged and sent back."""
    if error.error_count() > COMPLAINTS_READ:
        return "too many fields are wrong"  # reading all of them would take too long
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "union_tag_invalid":
        return "kind: it is none that this version knows"
    where = ".".join(str(part) for part in first["loc"] if part in _FIELDS or part.__class__ is int)
    return f"{where}: {first['msg']}" if where else first["msg"]


def sender_of(data: bytes, user: str) -> Event | None:
    """Where to answer a message of that user that cannot be read as an event, if that is known."""

    class Sender(Event):
        v: int = 1  # type: ignore[assignment]  # of any version, only to be told so

    try:
        sender = Sender.model_validate_json(data)
    except ValidationError:
        return None
    return sender if sender.user == user else None
