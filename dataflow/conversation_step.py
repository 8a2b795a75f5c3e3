"""The Bytewax step around a conversation, whose rules are in `conversation.py`.

Bytewax keeps the conversation while it is in memory; `partitions/` loads and stores it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from bytewax.operators import StatefulBatchLogic

from dataflow.budget_notices import report
from dataflow.budget_rules import BudgetRules
from dataflow.conversation import Conversation
from dataflow.effects import INTERNAL, Effect, LinkDone, PlaceDecision, Recalled, Settle, Summarized
from dataflow.heard import Arrived, Heard, Leave, Loaded
from dataflow.partitions.in_memory import Conversing
from dataflow.retention import Kept
from dataflow.tokens import Window
from shared.log import logger
from shared.messages import Ask
from shared.replies import Journaled

ANNOUNCE_WAITS_AFTER: Final = timedelta(seconds=1)
"""A wait is announced once it has lasted this long. Most end sooner: people see a reply a moment
before the dataflow learns that it is stored."""

SetAside = Callable[[str, bytes, str], None]
"""Keeps a stored conversation of a user that cannot be read, and why."""


class Memory(Protocol):
    """Where the conversations in memory are known (`partitions/in_memory.py`)."""

    def entered(self, user: str, conversation: Conversing) -> None:
        """A conversation is in memory."""

    def handled(self, count: int) -> None:
        """This many items were handled."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is the same for all conversations. `keep_days`: None means without a limit."""

    window: Window
    budgets: BudgetRules | None = None
    keep_days: int | None = None
    links_accounts: bool = False


class ConversationStep(StatefulBatchLogic[Heard, Effect, None]):
    """One user's conversation in the dataflow. A `Loaded` begins it, a `Leave` ends it."""

    def __init__(self, rules: Rules, memory: Memory, set_aside: SetAside) -> None:
        self._rules = rules
        self._memory = memory
        self._set_aside = set_aside
        self._conversation: Conversation | None = None
        self._notify_at: datetime | None = None

    @classmethod
    def builder(
        cls, rules: Rules, memory: Memory, set_aside: SetAside
    ) -> Callable[[None], "ConversationStep"]:
        """A function that makes the step for a user."""

        def build(_: None) -> "ConversationStep":
            return cls(rules, memory, set_aside)

        return build

    # --- for Bytewax --------------------------------------------------------------------------

    def on_batch(self, values: list[Heard]) -> tuple[Iterable[Effect], bool]:
        """Handles what the conversation hears; returns effects."""
        effects: list[Effect] = []
        for value in values:
            effects += self._heard(value)
        self._memory.handled(len(values))
        self._set_notify_at()
        conversation = self._conversation
        if conversation is None:
            return effects, StatefulBatchLogic.DISCARD
        if self._rules.budgets is not None:
            report(conversation.admission.notices(), user=conversation.user)
        return effects, StatefulBatchLogic.RETAIN

    def on_notify(self) -> tuple[Iterable[Effect], bool]:
        """Announces waits. A superfluous call does nothing."""
        self._notify_at = None
        waits = () if self._conversation is None else self._conversation.announce_waits()
        return list(waits), StatefulBatchLogic.RETAIN

    def notify_at(self) -> datetime | None:
        """When to call `on_notify`."""
        return self._notify_at

    def snapshot(self) -> None:
        """Nothing: Bytewax asks for it even without a recovery store."""

    # --- for the store ------------------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """Whether the conversation has to be taken up at once after a restart."""
        return self._loaded.has_work

    def saved(self) -> bytes:
        """The conversation as JSON."""
        return self._loaded.dump()

    # --- what it hears ------------------------------------------------------------------------

    @property
    def _loaded(self) -> Conversation:
        if self._conversation is None:
            raise AssertionError("a conversation is loaded before it hears anything else")
        return self._conversation

    def _heard(self, value: Heard) -> list[Effect]:
        match value:
            case Loaded():
                return self._load(value)
            case Leave():
                self._conversation = None
                return []
        conversation = self._loaded
        self._prepare(conversation)
        try:
            return _handled(conversation, value)
        except Exception:  # noqa: BLE001  (one user's defect must not end everyone's dataflow)
            logger().exception("defect in a conversation", of=conversation.user)
            return _after_defect(conversation, value)

    def _load(self, loaded: Loaded) -> list[Effect]:
        conversation = self._conversation = self._read(loaded)
        conversation.user = loaded.user  # a snapshot of an older version does not name it
        self._memory.entered(loaded.user, self)
        self._prepare(conversation)
        return conversation.resume(loaded.answered_elsewhere)

    def _read(self, loaded: Loaded) -> Conversation:
        """The stored conversation. If it cannot be read, it is set aside and begins again.

        A newer version may have written it, which must not end the dataflow for everyone.
        """
        rules = self._rules
        if loaded.saved is not None:
            try:
                return Conversation.load(
                    loaded.saved, rules.window, links_accounts=rules.links_accounts
                )
            except ValueError as error:
                self._set_aside(loaded.user, loaded.saved, type(error).__name__)
        return Conversation(rules.window, loaded.user, links_accounts=rules.links_accounts)

    def _prepare(self, conversation: Conversation) -> None:
        now = datetime.now(UTC)
        if self._rules.budgets is not None:
            conversation.admission.set_budget(self._rules.budgets, now)
        if self._rules.keep_days is not None:
            conversation.forget_older(Kept.at(now, self._rules.keep_days))

    def _set_notify_at(self) -> None:
        if self._conversation is None or not self._conversation.may_wait:
            self._notify_at = None
        elif self._notify_at is None:
            self._notify_at = datetime.now(UTC) + ANNOUNCE_WAITS_AFTER


def _handled(conversation: Conversation, value: Heard) -> list[Effect]:
    effects: list[Effect] = []
    match value:
        case Arrived():
            effects = conversation.on_event(value.event, replayed=value.replayed)
        case Journaled():
            effects = conversation.on_reply(value)
        case Summarized():
            effects = conversation.on_summarized(value)
        case PlaceDecision():
            effects = conversation.admission.on_decision(value)
        case LinkDone():
            effects = conversation.admission.on_link_done(value)
        case Recalled():
            effects = conversation.admission.on_recalled(value)
        # `_prepare` has done what a Recheck is for.
    return effects


def _after_defect(conversation: Conversation, value: Heard) -> list[Effect]:
    """What can still be done for the person. What is pending is asked again after a restart."""
    effects = conversation.resume()
    if not isinstance(value, Arrived) or not isinstance(value.event, Ask):
        return effects
    ask = value.event
    if all(pending.ask.id != ask.id for pending in conversation.pending):
        effects.append(Settle(ask, "failed", INTERNAL))
    return effects
