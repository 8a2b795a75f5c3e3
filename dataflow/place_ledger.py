"""What was used of the budget of a place, changed by several processes in turn.

Pure. A change may be said twice, after a restart or when an acknowledgement was lost, so it
remembers for a while which questions it has counted.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pydantic import AwareDatetime, TypeAdapter

from dataflow.budget import HELD_FOR, Amount, Ledger, Limit, NearlyUsed, Shortage


@dataclass(slots=True)
class PlaceLedger(Ledger):
    """The counters of one place, and the questions settled lately."""

    settled: dict[str, AwareDatetime] = field(default_factory=dict)

    def reserve(
        self, prompt_id: str, amount: Amount, limits: Iterable[Limit], now: datetime
    ) -> Shortage | None:
        """Holds an amount for a call, unless it was counted before: its reply is stored."""
        if prompt_id in self.settled:
            return None
        return Ledger.reserve(self, prompt_id, amount, limits, now)

    def settle(
        self, prompt_id: str, used: Amount, limits: Iterable[Limit], at: datetime
    ) -> list[NearlyUsed]:
        """Counts what a call has used, once."""
        if prompt_id in self.settled:
            return []
        old = [key for key, since in self.settled.items() if abs(at - since) > HELD_FOR]
        for key in old:
            del self.settled[key]
        self.settled[prompt_id] = at
        return Ledger.settle(self, prompt_id, used, limits, at)


PLACE_LEDGER: Final = TypeAdapter(PlaceLedger)
