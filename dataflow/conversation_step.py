"""The Bytewax step around a conversation, whose rules are in `conversation.py`.

It only decides where the conversation is: in memory, or evicted until its user writes again.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from bytewax.operators import StatefulBatchLogic

from dataflow.budget_notices import report
from dataflow.budget_rules import BudgetRules
from dataflow.conversation import Conversation
from dataflow.effects import (
    INTERNAL,
    Effect,
    Evict,
    Evicted,
    LinkDone,
    PlaceDecision,
    RecallAsked,
    Recalled,
    Settle,
    Summarized,
)
from dataflow.eviction.idle import IdleConversations
from dataflow.eviction.store import EvictedStore
from dataflow.prompts_source import NOW, Arrived
from dataflow.retention import Kept, may_have_older
from dataflow.snapshot import quiet_user
from dataflow.tokens import Window
from shared import metrics
from shared.log import logger
from shared.messages import Ask, Journaled


@dataclass(frozen=True, slots=True)
class BecameIdle:
    """The conversation has been idle for long enough to be evicted."""


ANNOUNCE_WAITS_AFTER: Final = timedelta(seconds=1)
"""A wait is announced once it has lasted this long. Most end sooner: people see a reply a moment
before the dataflow learns that it is stored."""

Heard = (
    Arrived
    | Journaled
    | Summarized
    | PlaceDecision
    | LinkDone
    | RecallAsked
    | Recalled
    | BecameIdle
    | Evicted
)
Step = Callable[[bytes | None], StatefulBatchLogic[Heard, Effect | Evict, bytes]]

_VERSIONS = itertools.count(1)
"""Shared by all conversations, so that an `Evicted` never fits one that has come back since."""


class ConversationStep(StatefulBatchLogic[Heard, Effect | Evict, bytes]):
    """One user's state in the dataflow. It has no conversation until the user is known."""

    def __init__(
        self,
        snapshot: bytes | None,
        window: Window,
        evicted: EvictedStore,
        idle: IdleConversations,
        budgets: BudgetRules | None = None,
        *,
        keep_days: int | None = None,
        links_accounts: bool = False,
    ) -> None:
        self._links_accounts = links_accounts
        self._conversation: Conversation | None = None
        self._unread: bytes | None = None
        """The snapshot of a conversation in which nothing is pending, until its user writes."""
        self._user = ""
        self._window = window
        self._evicted = evicted
        self._idle = idle
        self._budgets = budgets
        self._keep_days = keep_days
        self._version = next(_VERSIONS)
        self._notify_at: datetime | None = None
        if snapshot is None:
            return
        if user := quiet_user(snapshot):
            self._user, self._unread = user, snapshot
        else:
            self._conversation = self._loaded(snapshot, "")
            self._user = self._conversation.user
            # Unanswered questions are asked again at the first step after a restart.
            self._notify_at = NOW if self._conversation.has_work else None
        if self._user:
            idle.touch(self._user)

    @classmethod
    def builder(
        cls,
        window: Window,
        evicted: EvictedStore,
        idle: IdleConversations,
        budgets: BudgetRules | None = None,
        *,
        keep_days: int | None = None,
        links_accounts: bool = False,
    ) -> Step:
        """A function that makes the step for a user, from a snapshot if there is one."""

        def build(snapshot: bytes | None) -> "ConversationStep":
            return cls(
                snapshot, window, evicted, idle, budgets,
                keep_days=keep_days, links_accounts=links_accounts,
            )  # fmt: skip

        return build

    def on_batch(self, values: list[Heard]) -> tuple[Iterable[Effect | Evict], bool]:
        """Handles what the step hears, such as events and replies; returns effects."""
        effects: list[Effect | Evict] = []
        for value in values:
            match value:
                case Arrived():
                    effects += self._on_event(value)
                case Journaled():
                    effects += self._on_reply(value)
                case Summarized():
                    effects += self._on_summarized(value)
                case PlaceDecision() | LinkDone() | RecallAsked() | Recalled():
                    effects += self._on_decision(value)
                case BecameIdle():
                    effects += self._evict()
                case Evicted():
                    self._leave(value.version)
        self._set_notify_at()
        if self._budgets is not None and self._conversation is not None:
            report(self._conversation.notices(), user=self._user)
        # The recovery store forgets a discarded conversation when this epoch closes.
        is_here = self._conversation is not None or self._unread is not None
        return effects, StatefulBatchLogic.RETAIN if is_here else StatefulBatchLogic.DISCARD

    def on_notify(self) -> tuple[Iterable[Effect | Evict], bool]:
        """Asks again after a restart, and announces waits.

        A superfluous call does nothing.
        """
        self._notify_at = None
        if self._conversation is None:
            return [], StatefulBatchLogic.RETAIN
        if self._budgets is not None:
            self._conversation.set_budget(self._budgets, datetime.now(UTC))
        effects = [*self._conversation.resume(), *self._conversation.announce_waits()]
        return effects, StatefulBatchLogic.RETAIN

    def notify_at(self) -> datetime | None:
        """When to call `on_notify`: at once if questions are to be asked again after a restart."""
        return self._notify_at

    def snapshot(self) -> bytes:
        """The conversation as JSON, which nothing can change later."""
        if self._unread is not None:
            return self._unread
        if self._conversation is None:
            raise AssertionError("no snapshot is taken of a conversation that has left memory")
        return self._conversation.dump()

    def _set_notify_at(self) -> None:
        if self._notify_at is NOW:
            return  # questions are asked again first
        if self._conversation is None or not self._conversation.may_wait:
            self._notify_at = None
        elif self._notify_at is None:
            self._notify_at = datetime.now(UTC) + ANNOUNCE_WAITS_AFTER

    def _on_event(self, arrived: Arrived) -> list[Effect]:
        event = arrived.event
        conversation = self._touched(event.user)
        try:
            return conversation.on_event(event, replayed=arrived.replayed)
        except Exception:  # noqa: BLE001  (one user's event must not end everyone's dataflow)
            logger().exception("defect in a conversation", prompt=event.id)
            effects = list(conversation.resume())
            if isinstance(event, Ask) and all(p.ask.id != event.id for p in conversation.pending):
                effects.append(Settle(event, "failed", INTERNAL))
            return effects

    def _on_reply(self, journaled: Journaled) -> list[Effect]:
        conversation = self._touched(journaled.reply.user)
        try:
            return conversation.on_reply(journaled)
        except Exception:  # noqa: BLE001  (as above; the question is no longer pending)
            logger().exception("defect in a conversation", prompt=journaled.reply.prompt_id)
            return list(conversation.resume())

    def _on_summarized(self, result: Summarized) -> list[Effect]:
        if self._conversation is None:
            return []  # it was evicted in the meantime, and will be summarized again
        conversation = self._touched(self._user)
        try:
            return conversation.on_summarized(result)
        except Exception:  # noqa: BLE001  (as above)
            logger().exception("defect in a conversation, while summarizing")
            return []

    def _on_decision(
        self, decision: PlaceDecision | LinkDone | RecallAsked | Recalled
    ) -> list[Effect]:
        user = decision.account if isinstance(decision, RecallAsked) else decision.user
        conversation = self._touched(user)
        try:
            match decision:
                case PlaceDecision():
                    return conversation.on_decision(decision)
                case LinkDone():
                    return conversation.on_link_done(decision)
                case RecallAsked():
                    return conversation.on_recall_asked(decision)
                case Recalled():
                    return conversation.on_recalled(decision)
        except Exception:  # noqa: BLE001  (as above; a restart asks again)
            logger().exception("defect in a conversation", prompt=decision.prompt_id)
            return []

    def _touched(self, user: str) -> Conversation:
        if self._conversation is None:
            self._conversation = self._read(user)
        # A snapshot of an older version does not name the user.
        self._user = self._conversation.user = user
        self._version = next(_VERSIONS)
        self._idle.touch(user)
        if self._budgets is not None:
            self._conversation.set_budget(self._budgets, datetime.now(UTC))
        self._forget_older()
        return self._conversation

    def _forget_older(self) -> None:
        if self._keep_days is None:
            return
        kept = Kept.at(datetime.now(UTC), self._keep_days)
        if self._unread is not None and may_have_older(self._unread, kept):
            self._conversation, self._unread = self._loaded(self._unread, self._user), None
        if self._conversation is not None:
            self._conversation.forget_older(kept)

    def _read(self, user: str) -> Conversation:
        snapshot, self._unread = self._unread, None
        if snapshot is None:
            snapshot = self._evicted.get(user)
            if snapshot is None:
                return self._new(user)
            metrics.restored.inc()
        return self._loaded(snapshot, user)

    def _loaded(self, snapshot: bytes, user: str) -> Conversation:
        """The conversation in a snapshot. If it cannot be read, it is set aside and begins again.

        A newer version may have written it, which must not end the dataflow for everyone.
        """
        try:
            return Conversation.load(snapshot, self._window, links_accounts=self._links_accounts)
        except ValueError as error:
            self._evicted.set_aside(user, snapshot, reason=type(error).__name__)
            return self._new(user)

    def _new(self, user: str) -> Conversation:
        return Conversation(self._window, user, links_accounts=self._links_accounts)

    def _evict(self) -> list[Evict]:
        self._forget_older()
        if self._unread is not None:
            return [Evict(self._unread, self._version)]
        if self._conversation is None or self._conversation.has_work:
            return []
        return [Evict(self._conversation.dump(), self._version)]

    def _leave(self, version: int) -> None:
        if version == self._version:
            self._idle.remove(self._user)
            self._conversation = self._unread = None
