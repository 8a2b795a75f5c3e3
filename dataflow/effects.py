"""The effects of a conversation: values that the asyncio thread carries out.

Pure.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from dataflow.budget import Amount
from dataflow.linking import Command
from dataflow.model.status import Queued
from dataflow.request import Request
from dataflow.summary import Fold
from dataflow.truncation import ChatMessage
from dataflow.turn import Turn
from shared.messages import Ask, Forget, Place
from shared.replies import BackgroundCall, Outcome

INTERNAL: Final = "Something went wrong inside this bot, and it was logged. Please ask again."
"""The reply to a question that met a defect of ours."""

BROKEN_OFF: Final = "\n\n[The answer broke off here. {notice}]"
"""Ends an answer that failed after some text."""


@dataclass(frozen=True, slots=True)
class CallModel:
    """Ask the model, but if `check_journal`, first look for the reply in the journal.

    `after` is the question whose reply comes before this one in the thread. The reply reports the
    `background` calls. `answered_elsewhere`: another process is still answering it, so its reply
    is awaited for a while.
    """

    ask: Ask
    request: Request
    check_journal: bool
    after: str | None = None
    background: tuple[BackgroundCall, ...] = ()
    answered_elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Settle:
    """Journal this text as the reply, without the model."""

    ask: Ask
    outcome: Outcome
    text: str
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """End the wait or the model call of a question. Its reply keeps the text so far."""

    prompt_id: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Wait:
    """Tell the person why their question has to wait, if that takes long.

    The wait ends with the `CallModel`, `Settle` or `Cancel` of the same question. `after`
    names the reply before this one, once that is in the journal.
    """

    ask: Ask
    reason: Queued
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Summarize:
    """Ask the model for a summary in the background. Nothing waits for it, and it can be skipped.

    `model` is the one of the thread; None: the configured one.
    """

    fold: Fold
    messages: tuple[ChatMessage, ...]
    model: str | None


@dataclass(frozen=True, slots=True)
class Summarized:
    """The end of a `Summarize`. `call` is None if the model was not asked, or did not answer.

    `skipped`: the model was not asked because it, or this process, has too much to do.
    """

    fold: Fold
    outcome: Literal["written", "failed", "skipped"]
    text: str = ""
    call: BackgroundCall | None = None


@dataclass(frozen=True, slots=True)
class Erase:
    """Erase what is stored about a user, then journal the reply to the event that asked for it.

    None of the user's questions from before that event may be pending. The linked `accounts` are
    told that they are not linked any more.
    """

    forget: Forget
    accounts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReservePlace:
    """Ask the budget of a place whether a question has room in it. A `PlaceDecision` comes back.

    `budget` is the name of the budget, and `amount` the most that the call can use.
    """

    budget: str
    user: str
    prompt_id: str
    place: Place
    amount: Amount


@dataclass(frozen=True, slots=True)
class SettlePlace:
    """Tell the budget of a place what a question has used, and when it was answered."""

    budget: str
    user: str
    prompt_id: str
    place: Place
    used: Amount
    at: datetime


@dataclass(frozen=True, slots=True)
class PlaceDecision:
    """The answer to a `ReservePlace`: the text of the refusal; empty if there is room."""

    user: str
    prompt_id: str
    refusal: str


@dataclass(frozen=True, slots=True)
class Link:
    """Carry out what somebody asks about their linked `accounts`. A `LinkDone` comes back."""

    ask: Ask
    command: Command
    accounts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LinkDone:
    """The text of the reply to a `Link`, which is carried out."""

    user: str
    prompt_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Recall:
    """Look up what linked accounts recall for a question. A `Recalled` comes back."""

    user: str
    prompt_id: str
    accounts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recalled:
    """What the linked accounts recall for a question of `user`, one after the other."""

    user: str
    prompt_id: str
    turns: tuple[Turn, ...] = ()


LinkEffect = Link | Recall
"""The effects that concern linked accounts."""

PlaceEffect = ReservePlace | SettlePlace
"""These go to the step that keeps the budgets of places."""

Answered = CallModel | Settle | Cancel | Wait | Summarize
"""The effects that concern answers; `Answering` carries them out."""

Effect = Answered | PlaceEffect | LinkEffect | Erase
