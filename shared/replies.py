"""The messages from the dataflow to adapters: what people get as answers, complete or growing.

They keep the same promises as those of `messages.py`. Pure: no I/O.
"""

import operator
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import AwareDatetime, Field

from shared.messages import NOTE_LIMIT_CHARS, Address, Message, Place, PromptId, UserId
from shared.text import Text

REPLY_LIMIT_BYTES: Final = 500_000
"""The largest reply as JSON: the stream accepts 512 KiB with subject and headers."""

Outcome = Literal["answered", "failed", "stopped", "refused", "withdrawn"]


class Usage(Message):
    """Tokens as the model counted them. None: the endpoint does not report that number.

    `cached_tokens` are the prompt tokens read from the endpoint's cache; `reasoning_tokens` are the
    completion tokens that are not shown.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = Field(default=None, exclude_if=lambda count: count is None)
    reasoning_tokens: int | None = Field(default=None, exclude_if=lambda count: count is None)


class Timings(Message):
    """When the model was called, and when the first text of the answer came (None: none did)."""

    called_at: AwareDatetime
    first_token_at: AwareDatetime | None = Field(default=None, exclude_if=lambda at: at is None)


class BackgroundCall(Message):
    """A model call that answers no question, for example for a summary of older turns (`kind`)."""

    kind: Text
    model: Text
    usage: Usage | None = None


# By default pydantic would cache 16,384 short strings of parsed replies, in 1.1 MB.
class Reply(Message, cache_strings="keys"):
    """The one reply to one prompt, as the journal stores it.

    `text` is what the person reads: the answer, its beginning if it was stopped, or a notice.
    `prompt_text` is the question as it was answered. `estimated_usage` is a rough estimate for the
    calls whose usage nobody reported, in addition to `usage`: calls that were stopped, or replaced
    after an edit. It is set only if there are budgets. `after` is the prompt id of the previous
    reply of the same user in the same thread, which is in the journal already. It is None for the
    first reply, and in replies of older versions. `timings` is None if the model was not called,
    and in replies of older versions. `experiment` names what the model was asked in place of the
    usual. `background` are this user's model calls since an earlier reply that answer no question;
    each is in one reply only. `erased` is set in the reply to a `Forget` only: how many entries
    were erased, by store.
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
    estimated_usage: Usage | None = Field(default=None, exclude_if=lambda usage: usage is None)
    said_at: AwareDatetime
    answered_at: AwareDatetime
    after: PromptId | None = None
    timings: Timings | None = Field(default=None, exclude_if=lambda timings: timings is None)
    experiment: Text = Field(default="", exclude_if=lambda experiment: not experiment)
    background: tuple[BackgroundCall, ...] = Field(default=(), exclude_if=operator.not_)
    erased: dict[str, int] | None = Field(default=None, exclude_if=lambda erased: erased is None)


@dataclass(frozen=True, slots=True)
class Journaled:
    """A reply that is certainly in the journal: only `shared.bus` makes this value.

    Code that takes one can never get a reply that is not stored.
    """

    reply: Reply


class Partial(Message, cache_strings="keys"):
    """A growing answer: all of its text so far. Lossy; the highest attempt and sequence count.

    `attempt` grows when the model begins the answer again. `after` is the same as in the reply.
    `status` says in one plain sentence why there is no text yet, for example because the question
    is queued; it is empty once there is text. `early`: another answer of the thread comes before
    this one, so its text must not be shown yet.
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
