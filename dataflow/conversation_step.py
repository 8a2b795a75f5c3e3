"""The Bytewax step around a conversation. The rules of conversing are in `conversation.py`.

This one decides only where the conversation is: here, or at rest on the disk until its user speaks.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from bytewax.operators import StatefulBatchLogic

from dataflow.conversation import Conversation
from dataflow.effects import INTERNAL, Effect, Keep, Kept, Settle
from dataflow.eviction.idle import Idle
from dataflow.eviction.store import EvictedStore
from dataflow.prompts_source import NOW, Arrived
from dataflow.request import Window
from dataflow.snapshot import quiet_user
from shared import metrics
from shared.log import logger
from shared.messages import Ask, Journaled


@dataclass(frozen=True, slots=True)
class Rest:
    """Nobody touched this conversation for a while."""


WAITS_AFTER: Final = timedelta(seconds=1)
"""A wait is told once it has lasted this long: most are over at once, since people see a reply a
moment before the flow hears that it is stored."""

Heard = Arrived | Journaled | Rest | Kept
Step = Callable[[bytes | None], StatefulBatchLogic[Heard, Effect | Keep, bytes]]

_VERSIONS = itertools.count(1)
"""Over all conversations, so that news of one that left never fits one that came back."""


class ConversationStep(StatefulBatchLogic[Heard, Effect | Keep, bytes]):
    """One user's state in the flow. Without a conversation until its user is known."""

    def __init__(
        self, snapshot: bytes | None, window: Window, at_rest: EvictedStore, idle: Idle
    ) -> None:
        self._conversation: Conversation | None = None
        self._unread: bytes | None = None
        """The snapshot of a conversation in which nothing is pending, until its user speaks."""
        self._user = ""
        self._window = window
        self._at_rest = at_rest
        self._idle = idle
        self._version = next(_VERSIONS)
        self._wake: datetime | None = None
        if snapshot is None:
            return
        if user := quiet_user(snapshot):
            self._user, self._unread = user, snapshot
        else:
            self._conversation = self._loaded(snapshot, "")
            self._user = self._conversation.user
            # A worker that resumed with unanswered questions is woken once, to ask them again.
            self._wake = NOW if self._conversation.pending else None
        if self._user:
            idle.touch(self._user)

    @classmethod
    def builder(cls, window: Window, at_rest: EvictedStore, idle: Idle) -> Step:
        """Makes the step for a user, from a snapshot where there is one."""

        def build(snapshot: bytes | None) -> "ConversationStep":
            return cls(snapshot, window, at_rest, idle)

        return build

    def on_batch(self, values: list[Heard]) -> tuple[Iterable[Effect | Keep], bool]:
        """Events and replies in; effects out."""
        effects: list[Effect | Keep] = []
        for value in values:
            match value:
                case Arrived():
                    effects += self._heard(value)
                case Journaled():
                    effects += self._told(value)
                case Rest():
                    effects += self._keep()
                case Kept():
                    self._leave(value.version)
        self._set_wake()
        # Discarded, it is forgotten by the recovery store too, once this epoch is closed.
        here = self._conversation is not None or self._unread is not None
        return effects, StatefulBatchLogic.RETAIN if here else StatefulBatchLogic.DISCARD

    def _set_wake(self) -> None:
        if self._wake is NOW:
            return  # nothing is asked again before that
        if self._conversation is None or not self._conversation.may_wait:
            self._wake = None
        elif self._wake is None:
            self._wake = datetime.now(UTC) + WAITS_AFTER

    def _heard(self, arrived: Arrived) -> list[Effect]:
        event = arrived.event
        conversation = self._touched(event.user)
        try:
            return conversation.on_event(event, replayed=arrived.replayed)
        except Exception:  # noqa: BLE001  (one user's event must not end everybody's flow)
            logger().exception("defect in a conversation", prompt=event.id)
            effects = list(conversation.resume())
            if isinstance(event, Ask) and all(p.ask.id != event.id for p in conversation.pending):
                effects.append(Settle(event, "failed", INTERNAL))
            return effects

    def _told(self, journaled: Journaled) -> list[Effect]:
        conversation = self._touched(journaled.reply.user)
        try:
            return conversation.on_reply(journaled)
        except Exception:  # noqa: BLE001  (as above; the question is no longer pending)
            logger().exception("defect in a conversation", prompt=journaled.reply.prompt_id)
            return list(conversation.resume())

    def _touched(self, user: str) -> Conversation:
        if self._conversation is None:
            self._conversation = self._read(user)
        # A snapshot of an older version does not tell.
        self._user = self._conversation.user = user
        self._version = next(_VERSIONS)
        self._idle.touch(user)
        return self._conversation

    def _read(self, user: str) -> Conversation:
        saved, self._unread = self._unread, None
        if saved is None:
            saved = self._at_rest.get(user)
            if saved is None:
                return Conversation(self._window, user)
            metrics.restored.inc()
        return self._loaded(saved, user)

    def _loaded(self, saved: bytes, user: str) -> Conversation:
        """A stored conversation. One that cannot be read is set aside, and its user begins again.

        A newer version may have written it; it must not end everybody's flow.
        """
        try:
            return Conversation.load(saved, self._window)
        except ValueError as error:
            self._at_rest.set_aside(user, saved, reason=type(error).__name__)
            return Conversation(self._window, user)

    def _keep(self) -> list[Keep]:
        if self._unread is not None:
            return [Keep(self._unread, self._version)]
        if self._conversation is None or self._conversation.pending:
            return []
        return [Keep(self._conversation.dump(), self._version)]

    def _leave(self, version: int) -> None:
        if version == self._version:
            self._idle.gone(self._user)
            self._conversation = self._unread = None

    def on_notify(self) -> tuple[Iterable[Effect | Keep], bool]:
        """Asks again after a restart, and tells what has waited for a while.

        A spurious call does nothing.
        """
        self._wake = None
        if self._conversation is None:
            return [], StatefulBatchLogic.RETAIN
        effects = [*self._conversation.resume(), *self._conversation.waits()]
        return effects, StatefulBatchLogic.RETAIN

    def notify_at(self) -> datetime | None:
        """In the past while pending questions wait to be asked again; None if nothing waits."""
        return self._wake

    def snapshot(self) -> bytes:
        """The conversation as JSON: values that nothing can change later."""
        if self._unread is not None:
            return self._unread
        if self._conversation is None:
            raise AssertionError("a conversation that left is not asked for a snapshot")
        return self._conversation.dump()
