"""From a question's turn to the call of the model: links, other accounts, the window, budgets.

Pure. A question that something else is asked about first waits in a state of its own, and goes on
with the answer.
"""

from datetime import datetime
from typing import Final

from dataflow.budget import Ledger
from dataflow.budget_rules import BudgetRules
from dataflow.effects import (
    CallModel,
    Effect,
    LinkDone,
    PlaceDecision,
    Recalled,
    ReservePlace,
    Settle,
    SettlePlace,
)
from dataflow.linked_accounts import LinkedAccounts
from dataflow.memory import NOT_ASKED, Memory
from dataflow.pending import Ending, Pending
from dataflow.question_queue import QuestionQueue
from dataflow.request import Request, TooLong
from dataflow.user_budget import Notice, UserBudget
from shared.replies import Reply

TOO_LONG: Final = (
    "Your message is longer than this model can read. Please shorten it or send it in pieces."
)


class Admission:
    """Admits the questions of one user to the model, or settles them without it."""

    def __init__(
        self, queue: QuestionQueue, memory: Memory, linked: LinkedAccounts, ledger: Ledger | None
    ) -> None:
        self.ledger = ledger
        """What was used of the budget; None: there never was one."""
        self._queue = queue
        self._memory = memory
        self._linked = linked
        self._budget: UserBudget | None = None
        # By question, the request of the latest call.
        self._requests: dict[str, Request] = {}

    # --- budgets ----------------------------------------------------------------------------

    def set_budget(self, rules: BudgetRules, now: datetime) -> None:
        """Applies budgets at this time: call before each event, reply, decision and resumption."""
        if self._budget is None:
            self.ledger = self.ledger or Ledger()
            self._budget = UserBudget(rules, self.ledger, now)
        self._budget.now = now

    def notices(self) -> list[Notice]:
        """What happened to the budget since the last call."""
        return [] if self._budget is None else self._budget.notices()

    # --- beginning --------------------------------------------------------------------------

    def begin(self, pending: Pending) -> Effect:
        """Begins with a question: it is for the model unless it has ended, or waits for others."""
        after, ask = self._queue.begin(pending), pending.ask
        if pending.ending is not None:
            return Settle(ask, pending.ending.outcome, pending.ending.text, after)
        first = self._linked.command(pending) or self._linked.recall(pending)
        return self._call(pending, after) if first is None else first

    def _call(self, pending: Pending, after: str | None) -> Effect:
        """The call of the model, if the window and the budgets have room for it."""
        ask = pending.ask
        linked = self._linked.recalled(ask.id)
        try:
            request = self._memory.request_for(ask, pending.order, linked)
        except TooLong:
            return Settle(ask, "refused", TOO_LONG, after)
        if self._budget is not None:
            found = self._budget.admit(ask, request, self._memory.ratio)
            if isinstance(found, ReservePlace):
                pending.state = "reserving"
                return found
            if found is not None:
                return Settle(ask, "refused", found, after)
        self._requests[ask.id] = request
        summaries = self._memory.summaries
        background = summaries.report(ask.id) if summaries.unreported else ()
        return CallModel(ask, request, pending.check_journal, after, background)

    # --- going on ---------------------------------------------------------------------------

    def on_decision(self, decision: PlaceDecision) -> list[Effect]:
        """Handles the decision of a place's budget about a question."""
        pending = self._queue.find(decision.prompt_id)
        if pending is None or pending.state != "reserving" or self._budget is None:
            return []  # it was stopped, deleted or edited in the meantime
        if decision.refusal:
            after = self._queue.begin(pending)
            return [Settle(pending.ask, "refused", decision.refusal, after)]
        self._budget.hear(decision)
        return [self.begin(pending)]

    def on_recalled(self, answer: Recalled) -> list[Effect]:
        """Handles what the other accounts of this person recall."""
        pending = self._queue.find(answer.prompt_id)
        if pending is None or pending.state != "recalling":
            return []
        return [self.begin(pending)] if self._linked.on_recalled(answer) else []

    def on_link_done(self, done: LinkDone) -> list[Effect]:
        """Handles the end of what somebody asked about their linked accounts."""
        pending = self._queue.find(done.prompt_id)
        if pending is None or pending.state != "linking":
            return []
        pending.ending = Ending("answered", done.text)
        return [self.begin(pending)]

    # --- ending -----------------------------------------------------------------------------

    def take_request(self, prompt_id: str) -> Request:
        """The request of a question that has its reply."""
        self._linked.drop(prompt_id)
        return self._requests.pop(prompt_id, NOT_ASKED)

    def spent(self, pending: Pending, reply: Reply) -> list[SettlePlace]:
        """Counts what the reply to a question has used."""
        if self._budget is None:
            return []
        return self._budget.settle(pending, reply, self._memory.ratio)
