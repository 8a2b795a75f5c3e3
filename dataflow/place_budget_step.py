"""The Bytewax step that keeps the budgets of places, one state per entry of `places`.

Only questions asked where there is such a budget come here. It must never wait.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from bytewax.operators import StatefulBatchLogic
from pydantic import TypeAdapter

from dataflow.budget import Ledger
from dataflow.budget_notices import report
from dataflow.budget_rules import BudgetRules
from dataflow.budget_wording import refusal
from dataflow.effects import PlaceDecision, PlaceEffect, ReservePlace, SettlePlace
from dataflow.user_budget import Notice
from shared.log import logger

_LEDGER: Final = TypeAdapter(Ledger)

PlaceStep = Callable[[bytes | None], StatefulBatchLogic[PlaceEffect, PlaceDecision, bytes]]


class PlaceBudgetStep(StatefulBatchLogic[PlaceEffect, PlaceDecision, bytes]):
    """The budget of one place: the single writer of its counters."""

    def __init__(self, snapshot: bytes | None, rules: BudgetRules) -> None:
        self._rules = rules
        self._ledger = Ledger() if snapshot is None else _loaded(snapshot)

    @classmethod
    def builder(cls, rules: BudgetRules) -> PlaceStep:
        """A function that makes the step for a place, from a snapshot if there is one."""

        def build(snapshot: bytes | None) -> "PlaceBudgetStep":
            return cls(snapshot, rules)

        return build

    def on_batch(self, values: list[PlaceEffect]) -> tuple[Iterable[PlaceDecision], bool]:
        """Decides about questions, and counts what they have used."""
        decisions = []
        for value in values:
            match value:
                case ReservePlace():
                    decisions.append(self._decision(value, datetime.now(UTC)))
                case SettlePlace():
                    self._settle(value)
        return decisions, StatefulBatchLogic.RETAIN

    def snapshot(self) -> bytes:
        """The counters as JSON."""
        return _LEDGER.dump_json(self._ledger, exclude_defaults=True)

    def _decision(self, asked: ReservePlace, now: datetime) -> PlaceDecision:
        own = self._rules.of_place(asked.budget, asked.place)
        shortage = self._ledger.reserve(_key(asked), asked.amount, own.limits, now)
        if shortage is None:
            return PlaceDecision(asked.user, asked.prompt_id, "")
        notice = Notice(own.scope, shortage.limit, shortage.used, refused=True)
        report([notice], place=asked.budget)
        text = refusal(shortage, own.whose, now)
        return PlaceDecision(asked.user, asked.prompt_id, text)

    def _settle(self, settled: SettlePlace) -> None:
        own = self._rules.of_place(settled.budget, settled.place)
        nearly = self._ledger.settle(_key(settled), settled.used, own.limits, settled.at)
        notices = [Notice(own.scope, one.limit, one.used, refused=False) for one in nearly]
        report(notices, place=settled.budget)


def _loaded(snapshot: bytes) -> Ledger:
    """The stored counters. A newer version may have stored them; that must not end the dataflow."""
    try:
        return _LEDGER.validate_json(snapshot)
    except ValueError:
        logger().error("the stored budget of a place cannot be read: it begins again, unused")
        return Ledger()


def _key(effect: PlaceEffect) -> str:
    """Prompt ids are unique on a platform, but a platform's users choose some of them."""
    return f"{effect.user} {effect.prompt_id}"
