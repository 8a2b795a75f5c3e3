"""Carries out what concerns the budgets of places, which users of several processes share.

Runs in the asyncio thread. The store lets one process at a time change a budget, so no two calls
can take the same room.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from dataflow.budget import NearlyUsed, Shortage
from dataflow.budget_notices import report
from dataflow.budget_rules import BudgetRules
from dataflow.budget_wording import refusal
from dataflow.effects import PlaceDecision, PlaceEffect, ReservePlace, SettlePlace
from dataflow.place_ledger import PLACE_LEDGER, PlaceLedger
from dataflow.store.store import Store, StoreAway
from dataflow.user_budget import Notice
from shared.log import logger
from shared.tasks import end

AGAIN_S: Final = 0.5

OnDecision = Callable[[str, PlaceDecision], None]


class PlaceBudgets:
    """The budgets of all places. Call from the asyncio thread."""

    def __init__(self, store: Store, rules: BudgetRules) -> None:
        self._store = store
        self._rules = rules
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, effect: PlaceEffect, on_decision: OnDecision) -> None:
        """Carries out an effect. Returns at once."""
        task = asyncio.get_running_loop().create_task(self._until_done(effect, on_decision))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ends what is in progress; the next start begins it again."""
        await end(*self._tasks)

    async def _until_done(self, effect: PlaceEffect, on_decision: OnDecision) -> None:
        while True:
            try:
                match effect:
                    case ReservePlace():
                        on_decision(effect.user, await self._decision(effect))
                    case SettlePlace():
                        await self._settle(effect)
            except StoreAway as error:
                logger().debug("the budget of a place cannot be changed", error=str(error))
                await asyncio.sleep(AGAIN_S)
            else:
                return

    async def _decision(self, asked: ReservePlace) -> PlaceDecision:
        own = self._rules.of_place(asked.budget, asked.place)
        now = datetime.now(UTC)
        shortage: Shortage | None = None

        def reserve(ledger: PlaceLedger) -> None:
            nonlocal shortage
            shortage = ledger.reserve(_key(asked), asked.amount, own.limits, now)

        await self._change(asked.budget, reserve)
        if shortage is None:
            return PlaceDecision(asked.user, asked.prompt_id, "")
        notice = Notice(own.scope, shortage.limit, shortage.used, refused=True)
        report([notice], place=asked.budget)
        text = refusal(shortage, own.whose, now)
        return PlaceDecision(asked.user, asked.prompt_id, text)

    async def _settle(self, settled: SettlePlace) -> None:
        own = self._rules.of_place(settled.budget, settled.place)
        nearly: list[NearlyUsed] = []

        def settle(ledger: PlaceLedger) -> None:
            nonlocal nearly
            nearly = ledger.settle(_key(settled), settled.used, own.limits, settled.at)

        await self._change(settled.budget, settle)
        notices = [Notice(own.scope, one.limit, one.used, refused=False) for one in nearly]
        report(notices, place=settled.budget)

    async def _change(self, budget: str, change: Callable[[PlaceLedger], None]) -> None:
        def changed(saved: bytes | None) -> bytes:
            ledger = PlaceLedger() if saved is None else _loaded(saved)
            change(ledger)
            return PLACE_LEDGER.dump_json(ledger, exclude_defaults=True)

        await self._store.change_place(budget, changed)


def _loaded(saved: bytes) -> PlaceLedger:
    """The stored counters. A newer version may have stored them; that must not end the dataflow."""
    try:
        return PLACE_LEDGER.validate_json(saved)
    except ValueError:
        logger().error("the stored budget of a place cannot be read: it begins again, unused")
        return PlaceLedger()


def _key(effect: PlaceEffect) -> str:
    """Prompt ids are unique on a platform, but a platform's users choose some of them."""
    return f"{effect.user} {effect.prompt_id}"
