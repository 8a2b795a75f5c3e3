"""One person's budget as a part of their conversation, and the way to the budget of their place.

Pure: the step passes the time in. A question is admitted once; until it is settled, it keeps its
room across edits and restarts.
"""

import math
from dataclasses import dataclass
from datetime import datetime

from dataflow.budget import NOTHING, Ledger, Limit
from dataflow.budget_rules import BudgetRules
from dataflow.budget_wording import refusal
from dataflow.effects import PlaceDecision, ReservePlace, SettlePlace
from dataflow.pending import Pending
from dataflow.request import Request
from shared.messages import Ask
from shared.replies import Reply


@dataclass(frozen=True, slots=True)
class Notice:
    """What the operator should know: a budget is nearly used, or has refused a question."""

    scope: str
    limit: Limit
    used: int
    refused: bool


class UserBudget:
    """Admits the questions of one person, and counts what they use."""

    def __init__(self, rules: BudgetRules, ledger: Ledger, now: datetime) -> None:
        self.ledger = ledger
        self.now = now
        """The time of the latest event, set by the step."""
        self._rules = rules
        self._in_place: set[str] = set()
        """Questions that have room in the budget of their place."""
        self._notices: list[Notice] = []

    def admit(self, ask: Ask, request: Request, ratio: float) -> str | ReservePlace | None:
        """The text of a refusal, or a question to the budget of the place; None: it is admitted."""
        amount = self._rules.largest(ask, math.ceil(request.estimated_tokens * ratio))
        own = self._rules.of_person(ask)
        shortage = self.ledger.reserve(ask.id, amount, own.limits, self.now)
        if shortage is not None:
            self._notices.append(Notice(own.scope, shortage.limit, shortage.used, refused=True))
            return refusal(shortage, own.whose, self.now)
        budget = self._rules.budgets.place_of(ask.place)
        if budget is None or ask.id in self._in_place:
            return None
        return ReservePlace(budget, ask.user, ask.id, ask.place, amount)

    def hear(self, decision: PlaceDecision) -> None:
        """Records that a question has room in the budget of its place."""
        if not decision.refusal:
            self._in_place.add(decision.prompt_id)

    def settle(self, pending: Pending, reply: Reply, ratio: float) -> list[SettlePlace]:
        """Counts what the reply to a question has used."""
        ask = pending.ask
        held = self.ledger.held.get(ask.id)
        used = self._rules.used(ask, reply, ratio)
        if _was_settled(pending) and (held is None or reply.answered_at < held.since):
            used = NOTHING  # the journal still had its reply, which was counted then
        own = self._rules.of_person(ask)
        for nearly in self.ledger.settle(ask.id, used, own.limits, reply.answered_at):
            self._notices.append(Notice(own.scope, nearly.limit, nearly.used, refused=False))
        self._in_place.discard(ask.id)
        budget = self._rules.budgets.place_of(ask.place)
        if budget is None or (held is None and used == NOTHING):
            return []
        return [SettlePlace(budget, ask.user, ask.id, ask.place, used, reply.answered_at)]

    def notices(self) -> list[Notice]:
        """What has happened since the last call."""
        notices, self._notices = self._notices, []
        return notices


def _was_settled(pending: Pending) -> bool:
    """Whether a question was settled before and came again, unlike one that found a full queue."""
    ending = pending.ending
    return pending.out_of_turn and (ending is None or not ending.text)
