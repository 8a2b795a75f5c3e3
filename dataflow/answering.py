"""Turns effects into replies: one `Answer` per question, drafts of queued ones, and summaries.

Runs in the asyncio thread. It must never report a reply that the journal has not returned.
"""

import asyncio
import itertools
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from dataflow.answer import Answer, UntilCertain
from dataflow.background_calls import BackgroundCalls
from dataflow.draft import STATUS_AFTER_S, Draft
from dataflow.effects import Answered, CallModel, Cancel, Settle, Summarize, Summarized, Wait
from dataflow.images import Images
from dataflow.journal_capacity import JournalCapacity
from dataflow.model.client import ModelClient
from dataflow.overdue import Overdue
from dataflow.variants import Variants
from shared import metrics
from shared.bus import Bus
from shared.messages import Ask
from shared.replies import Journaled
from shared.tuning import GarbageForCalls

OnResult = Callable[[str, Journaled | Summarized], None]
"""Reports a reply or a summary to the worker that keeps this user's conversation."""


async def _at_once() -> None:
    """Waits for nothing."""


class Answering:
    """All answers in progress in this process."""

    def __init__(
        self,
        bus: Bus,
        model: ModelClient,
        capacity: JournalCapacity,
        *,
        estimates: bool = False,
        variants: Variants | None = None,
    ) -> None:
        """`estimates`: replies estimate what no endpoint reported, as budgets need it.

        `variants`: experiments, which ask another model for some users.
        """
        self._estimates = estimates
        self._variants = variants or Variants()
        self._bus = bus
        self._model = model
        self._capacity = capacity
        self._images = Images(bus)
        self._slow = Overdue(STATUS_AFTER_S)
        self._running: dict[str, Answer] = {}
        self._queued: dict[str, Draft] = {}
        self._background = BackgroundCalls(model)
        self._stopping = False
        self.until_certain: UntilCertain = _at_once
        self._garbage = GarbageForCalls()
        metrics.in_flight.set_function(lambda: len(self._running))
        metrics.pending.set_function(lambda: len(self._running) + len(self._queued))
        metrics.oldest_pending_s.set_function(self._oldest_pending_s)

    @property
    def idle(self) -> bool:
        """Whether no answer is in progress. Nothing waits for calls in the background."""
        return not self._running

    def to(self, users: Collection[str]) -> frozenset[str]:
        """The questions of these users that are being answered."""
        return frozenset(i for i, answer in self._running.items() if answer.user in users)

    def abandon(self, users: Collection[str]) -> None:
        """Ends the answers to these users without a reply: another process gives it."""
        for prompt_id in self.to(users):
            self._running[prompt_id].task.cancel()
        for prompt_id in [i for i, draft in self._queued.items() if draft.user in users]:
            self._queued.pop(prompt_id).close()

    def take(self, effects: list[tuple[str, Answered]], on_result: OnResult) -> None:
        """Carries out effects. Returns at once."""
        for user, effect in effects:
            if isinstance(effect, Wait):
                self._queue(effect)
            elif isinstance(effect, Cancel):
                if (draft := self._queued.pop(effect.prompt_id, None)) is not None:
                    draft.close()
                if (answer := self._running.get(effect.prompt_id)) is not None:
                    answer.cancel(effect.outcome)
            elif self._stopping:
                pass  # new questions stay pending in the store
            elif isinstance(effect, Summarize):
                answers = len(self._running)
                self._background.summarize(user, effect, on_result, answers=answers)
            else:
                self._begin(user, effect, on_result)
        self._garbage.in_flight(len(self._running))

    async def stop(self, within_s: float) -> None:
        """Ends all answers within this time. Questions that are cut off are asked again later."""
        self._stopping = True
        self._background.stop()
        for draft in self._queued.values():
            draft.close()
        tasks = [answer.task for answer in self._running.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=within_s)
        for answer in list(self._running.values()):
            answer.task.cancel()

    def _oldest_pending_s(self) -> float:
        """Read when Prometheus asks, so that no question has to be kept in order of its time."""
        running = (answer.said_at for answer in self._running.values())
        queued = (draft.said_at for draft in self._queued.values())
        oldest = min(itertools.chain(running, queued), default=None)
        if oldest is None:
            return 0.0
        return max(0.0, (datetime.now(UTC) - oldest).total_seconds())

    def _queue(self, effect: Wait) -> None:
        draft = self._queued.get(effect.ask.id)
        if draft is None and not self._stopping:
            draft = self._queued[effect.ask.id] = self._draft_of(effect.ask)
        if draft is not None:
            draft.queue(effect.reason, effect.after)

    def _draft_of(self, ask: Ask) -> Draft:
        return Draft(self._bus, ask, self._slow, give_up_after_s=self._model.give_up_after_s)

    def _begin(self, user: str, effect: CallModel | Settle, on_result: OnResult) -> None:
        draft = self._queued.pop(effect.ask.id, None) or self._draft_of(effect.ask)
        older = self._running.get(effect.ask.id)
        if older is not None:
            older.cancel(None)
        answer = Answer(
            self._bus, self._model, self._capacity, effect, older,
            draft=draft, images=self._images, estimates=self._estimates,
            variant=self._variants.of(effect.ask), until_certain=self.until_certain,
        )  # fmt: skip
        self._running[effect.ask.id] = answer

        def ended(task: asyncio.Task[Journaled | None]) -> None:
            if self._running.get(effect.ask.id) is answer:
                del self._running[effect.ask.id]
            if not task.cancelled() and (journaled := task.result()) is not None:
                on_result(user, journaled)

        answer.task.add_done_callback(ended)
