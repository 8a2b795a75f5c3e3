"""The messages from adapters to the dataflow: what people do. `replies.py` has the answers.

Every message is JSON with a version `v`. Unknown fields are ignored, so that each side can be
upgraded alone. The golden files in `tests/contract/golden` pin every version. Pure: no I/O.
"""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from shared import user_names
from shared.text import Text

TEXT_LIMIT_CHARS: Final = 100_000
"""The longest text of a question. Adapters refuse a longer one with a clear message."""

EVENT_LIMIT_BYTES: Final = 240_000
"""The largest event as JSON: the stream accepts 256 KiB with subject and headers."""

TRAINING: Final = "training"
"""The setting of a `Configure` event with which a person allows or forbids training: yes or no."""

TITLE: Final = "title."
"""Followed by a conversation's id, the setting of a `Configure` event that is its title."""

SHARE: Final = "share."
"""Followed by the hash of a link's token, the setting of a `Configure` event that is what the link
shows: `<conversation>` or `<conversation>/<prompt id>`; empty: nothing any more."""

SHARED: Final = "web-share-"
UNSHARED: Final = "web-unshare-"
"""How the ids of the events begin that make a link and revoke it; the hash follows."""

NOTE_LIMIT_CHARS: Final = 500
REASON_LIMIT_CHARS: Final = 2000


def _user(value: str) -> str:
    user_names.split_user(value)
    return value


UserId = Annotated[str, AfterValidator(_user)]
PromptId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,200}$")]
Address = dict[str, Text]
"""Where the answer goes, in the platform's own terms: only its adapter reads it."""


class Message(BaseModel):
    """An immutable message or a part of one."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_timedelta="float")

    def wire(self) -> bytes:
        """The message as JSON in UTF-8."""
        return self.model_dump_json(exclude_defaults=False).encode()


class Place(Message):
    """Where something was said, and who can read it there.

    `space` is the workspace or guild (empty if the platform has none), `channel` the conversation
    in it, and `thread` the thread in that (empty outside threads). `alone`: people who join later
    cannot read earlier messages, so nothing said here is used in a later answer.
    """

    platform: str
    space: str = ""
    channel: str
    thread: str = ""
    audience: Literal["direct", "private", "public"]
    alone: bool = Field(default=False, exclude_if=lambda alone: not alone)


class Quote(Message):
    """Another person's words that come with a question: data, never instructions."""

    author: Text
    text: Text


class Attachment(Message):
    """A file that came with a question, as inline `text` or as the name of a `blob` (`blobs.py`).

    With neither, the model gets the file's name and a `note` that says why it cannot read the file.
    """

    name: Text
    media_type: Text
    text: Text | None = None
    blob: str | None = None
    note: Text = Field(default="", max_length=NOTE_LIMIT_CHARS, exclude_if=lambda note: not note)


class Event(Message):
    """What a person did.

    `id` is derived from the platform's own id, so that a redelivered event has the same id.
    `said_at` is the platform's timestamp, which orders a user's questions.
    """

    v: Literal[1] = 1
    id: PromptId
    user: UserId
    place: Place
    address: Address = Field(default_factory=dict)
    said_at: AwareDatetime


class Ask(Event):
    """A question. `persona` replaces the system prompt, and `model` the model, in this place.

    `roles` are those of the person here that have a budget, in the platform's own terms.
    """

    kind: Literal["ask"] = "ask"
    text: Text = Field(max_length=TEXT_LIMIT_CHARS)
    attachments: tuple[Attachment, ...] = ()
    quotes: tuple[Quote, ...] = ()
    persona: Text | None = None
    model: Text | None = None
    roles: tuple[Text, ...] = Field(default=(), exclude_if=lambda roles: not roles)

    @model_validator(mode="after")
    def _says_something(self) -> "Ask":
        if not self.text.strip() and not self.attachments:
            raise ValueError("the message is empty")
        return self


class Stop(Event):
    """Stop answering one question, or all open questions of this thread."""

    kind: Literal["stop"] = "stop"
    prompt_id: PromptId | None = None


class Reset(Event):
    """Forget everything that could be recalled in this place."""

    kind: Literal["reset"] = "reset"


class Rate(Event):
    """Rates an answer; `none` removes the rating.

    `reason` says why, and `correction` is what the answer should have been.
    """

    kind: Literal["rate"] = "rate"
    prompt_id: PromptId
    thumb: Literal["up", "down", "none"]
    reason: Text = Field(
        default="", max_length=REASON_LIMIT_CHARS, exclude_if=lambda reason: not reason
    )
    correction: Text = Field(
        default="", max_length=TEXT_LIMIT_CHARS, exclude_if=lambda correction: not correction
    )


class Again(Event):
    """Answer a question again; the new answer has this event's id."""

    kind: Literal["again"] = "again"
    prompt_id: PromptId


class Edited(Event):
    """The text of a question has changed. `ask_again`: answer it again if it has an answer."""

    kind: Literal["edited"] = "edited"
    prompt_id: PromptId
    text: Text = Field(max_length=TEXT_LIMIT_CHARS)
    ask_again: bool = False


class Deleted(Event):
    """A question was deleted."""

    kind: Literal["deleted"] = "deleted"
    prompt_id: PromptId


class Forget(Event):
    """Erase everything that was stored about this user before this event.

    Its reply says that this is done. `silent`: an operator asked, so the person gets no message.
    """

    kind: Literal["forget"] = "forget"
    silent: bool = Field(default=False, exclude_if=lambda silent: not silent)


class Configure(Event):
    """Change a user's own settings."""

    kind: Literal["configure"] = "configure"
    settings: dict[str, Text] = Field(default_factory=dict)


class Linked(Event):
    """This user and these `accounts` are one person, who proved it. Only the dataflow says so."""

    kind: Literal["linked"] = "linked"
    accounts: tuple[UserId, ...]


class Unlinked(Event):
    """This user and these `accounts` are not linked any more."""

    kind: Literal["unlinked"] = "unlinked"
    accounts: tuple[UserId, ...]


AnyEvent = (
    Ask | Stop | Reset | Rate | Again | Edited | Deleted | Forget | Configure | Linked | Unlinked
)
