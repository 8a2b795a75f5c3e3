"""Rebuilds the requests that were sent to the model from a person's events and replies.

Pure. It plays them through the dataflow's own `Conversation`, so a request cannot be built in
another way than for people. It must never use a question that was deleted since.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

from dataflow.conversation import Conversation
from dataflow.effects import CallModel, Effect
from dataflow.tokens import Window
from shared.messages import Again, AnyEvent, Ask, Configure, Deleted, Edited, Forget
from shared.replies import Journaled, Outcome, Reply

TRAINING: Final = "training"
"""The setting with which people decide what their messages may be used for."""

MODEL_OUTCOMES: Final[frozenset[Outcome]] = frozenset({"answered", "failed"})
"""The outcomes of calls that reached their end; a stop says nothing about the model."""

LeftOut = Literal["the person opted out", "deleted", "has pictures", "cannot be rebuilt"]


@dataclass(frozen=True, slots=True)
class Logged:
    """An event or a reply, and when it was stored."""

    stored_at: datetime
    value: AnyEvent | Journaled


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A question, the request that was made of it, and the reply that people got.

    `complete`: nothing is known to be missing. Otherwise the request may have held turns that are
    older than the log, or a summary, whose text is not in the log.
    """

    ask: Ask
    messages: tuple[dict[str, Any], ...]
    reply: Reply
    complete: bool


@dataclass(frozen=True, slots=True)
class Skipped:
    """A question that is not asked again."""

    prompt_id: str
    why: LeftOut


def was_asked_of_model(reply: Reply) -> bool:
    """Whether this reply can be compared with that of another model."""
    was_called = reply.timings is not None or bool(reply.model)
    return reply.outcome in MODEL_OUTCOMES and was_called


def decision_in(log: Iterable[Logged]) -> bool | None:
    """Whether the person allowed or refused that their messages are used; None: undecided there.

    A request to be forgotten is a refusal.
    """
    decision = None
    for logged in log:
        event = logged.value
        if isinstance(event, Forget):
            return False
        if isinstance(event, Configure) and event.settings.get(TRAINING) in {"yes", "no"}:
            decision = event.settings[TRAINING] == "yes"
    return decision


def in_order(log: Iterable[Logged]) -> list[Logged]:
    """Events and replies in the order in which the dataflow can have seen them."""
    return sorted(log, key=lambda logged: (logged.stored_at, isinstance(logged.value, Journaled)))


def rebuilt(
    user: str, log: Sequence[Logged], wanted: Container[str], window: Window
) -> Iterator[Rebuilt | Skipped]:
    """The wanted requests of one person; `log` is `in_order`.

    The window is that of the dataflow. Follow-up questions keep the old answers.
    """
    deleted = _deleted(log)
    replies = {
        logged.value.reply.prompt_id: logged.value.reply
        for logged in log if isinstance(logged.value, Journaled)
    }  # fmt: skip
    conversation = Conversation(replace(window, summaries=False), user)
    calls: dict[str, CallModel] = {}
    has_summaries = False
    for logged in log:
        value = logged.value
        if not isinstance(value, Journaled):
            if (event := _played(value, deleted, replies)) is not None:
                _note(conversation.on_event(event, replayed=False), calls)
            continue
        reply = value.reply
        has_summaries = has_summaries or bool(reply.background)
        call = calls.pop(reply.prompt_id, None)
        if reply.prompt_id in wanted:
            is_complete = not has_summaries and (reply.after is None or reply.after in replies)
            yield _judged(reply, call, deleted, is_complete=is_complete)
        _note(conversation.on_reply(value), calls)


def _note(effects: Iterable[Effect], calls: dict[str, CallModel]) -> None:
    for effect in effects:
        if isinstance(effect, CallModel):
            calls[effect.ask.id] = effect  # an edit in the meantime calls again


def _judged(
    reply: Reply, call: CallModel | None, deleted: Container[str], *, is_complete: bool
) -> Rebuilt | Skipped:
    prompt_id = reply.prompt_id
    if prompt_id in deleted:
        return Skipped(prompt_id, "deleted")
    if call is None or reply.prompt_text not in {"", call.ask.text}:
        return Skipped(prompt_id, "cannot be rebuilt")
    if any(file.blob is not None for file in call.ask.attachments):
        return Skipped(prompt_id, "has pictures")
    return Rebuilt(call.ask, call.request.messages, reply, is_complete)


def _deleted(log: Iterable[Logged]) -> set[str]:
    """The ids of deleted questions, and of those that asked one of them again."""
    deleted: set[str] = set()
    events = [logged.value for logged in log]
    for event in events:
        if isinstance(event, Deleted):
            deleted.add(event.prompt_id)
        elif isinstance(event, Journaled) and event.reply.outcome == "withdrawn":
            deleted.add(event.reply.prompt_id)
    for event in events:
        if isinstance(event, Again | Edited) and event.prompt_id in deleted:
            deleted.add(event.id)
    return deleted


def _played(event: AnyEvent, deleted: Container[str], replies: Container[str]) -> AnyEvent | None:
    """The event as it is played; None if it is left out.

    A question without a reply would hold up its thread forever.
    """
    match event:
        case Ask() | Again():
            return event if event.id in replies and event.id not in deleted else None
        case Edited():
            if event.prompt_id in deleted:
                return None
            asks = event.ask_again and event.id in replies
            return event.model_copy(update={"ask_again": asks})
        case Deleted():
            return None
    return event
