"""Asks the candidate and the judge, through the dataflow's own client, and measures each call.

It must never tell an endpoint who asked.
"""

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Any, Final

from dataflow.model.client import ModelClient
from dataflow.model.endpoint import Endpoint
from dataflow.model.errors import ModelError, Why
from ops.rehearse.caps import Caps, most_microdollars
from ops.rehearse.errors import CapReached, Unusable
from ops.rehearse.pair import Answer, Outcome, whole_answer
from shared.prices import Price, cost_microdollars

UNUSABLE: Final[frozenset[Why]] = frozenset(
    {"unreachable", "bad key", "quota", "no model", "not openai"}
)
"""Failures that say nothing about the model: the rehearsal ends, and can be continued."""

Messages = tuple[dict[str, Any], ...]


class Purse:
    """The limits, which candidate and judge share. Calls wait for each other's change."""

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self._settled = asyncio.Condition()

    async def take(self, most: int | None) -> None:
        """Reserves money for a call.

        Raises:
            CapReached: the call must not be made.
        """
        async with self._settled:
            while (allowed := self._caps.reserve(most)) != "now":
                if allowed == "never":
                    raise CapReached
                await self._settled.wait()

    async def settle(self, most: int | None, cost: int | None) -> None:
        """Replaces a reservation by the cost; None: the cost is not known."""
        async with self._settled:
            self._caps.settle(most, cost)
            self._settled.notify_all()


class Respondent:
    """A model that is asked many questions."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        answer_tokens: int,
        give_up_after_s: float,
        silence_s: float,
        prices: Mapping[str, Price],
        purse: Purse,
    ) -> None:
        self.model = endpoint.model
        self.address = endpoint.address
        self._answer_tokens = answer_tokens
        self._prices = prices
        self._purse = purse
        self._client = ModelClient(
            lambda: endpoint,
            answer_tokens=answer_tokens,
            give_up_after_s=give_up_after_s,
            silence_s=silence_s,
            rng=random.Random(),  # noqa: S311  (jitter, not a secret)
        )

    async def answer(self, messages: Messages) -> Answer:
        """The model's answer, or why there is none.

        Raises:
            CapReached: the call was not made.
            Unusable: the endpoint cannot be asked at all.
        """
        most = most_microdollars(self.model, messages, self._answer_tokens, self._prices)
        await self._purse.take(most)
        cost: int | None = None
        began = time.monotonic()
        first_ms: int | None = None

        def on_text(_: str) -> None:
            nonlocal first_ms
            if first_ms is None:
                first_ms = _ms_since(began)

        def on_start_over() -> None:
            nonlocal first_ms
            first_ms = None

        try:
            done = await self._client.answer(
                messages, model=None, on_text=on_text, on_start_over=on_start_over
            )
            cost = cost_microdollars(self.model, done.usage, self._prices)
        except ModelError as error:
            if error.why in UNUSABLE:
                raise Unusable(f"{self.model} at {self.address}: {error}") from error
            outcome: Outcome = "refused" if error.why == "refused" else "failed"
            return Answer(
                outcome, error.notice, self.model,
                first_text_ms=first_ms, whole_ms=_ms_since(began),
            )  # fmt: skip
        finally:
            await self._purse.settle(most, cost)
        return whole_answer(
            done.text, done.model, usage=done.usage, cost_microdollars=cost,
            first_text_ms=first_ms, whole_ms=_ms_since(began),
        )  # fmt: skip

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()


def _ms_since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
