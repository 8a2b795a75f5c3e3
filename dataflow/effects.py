"""What a conversation wants done: values that the asyncio thread carries out.

Pure.
"""

from dataclasses import dataclass
from typing import Final

from dataflow.model.status import Queued
from dataflow.request import Request
from shared.messages import Ask, Outcome

INTERNAL: Final = "Something went wrong inside this bot. Please ask again; it has been logged."
"""The reply to a question that met a defect of ours."""


@dataclass(frozen=True, slots=True)
class CallModel:
    """Ask the model; `replayed`: the journal may already hold the answer, so look there first.

    `after` is the question whose reply comes before this one in the thread.
    """

    ask: Ask
    request: Request
    replayed: bool
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Settle:
    """Journal this text as the reply, without a model."""

    ask: Ask
    outcome: Outcome
    text: str
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """End the wait or the model call of a question; its reply holds what was said so far."""

    prompt_id: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Wait:
    """Tell the person why their question is not asked yet, if that takes long.

    It ends with the `CallModel`, `Settle` or `Cancel` of the same question. `after` is as there, if
    the reply before this one is in the journal.
    """

    ask: Ask
    queued: Queued
    after: str | None = None


Effect = CallModel | Settle | Cancel | Wait


@dataclass(frozen=True, slots=True)
class Keep:
    """Write this conversation to the disk, so that it may leave memory."""

    saved: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Kept:
    """The conversation is on the disk as it was at this version."""

    version: int
