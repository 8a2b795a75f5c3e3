"""Turns effects into replies: calls the model, shows partials, journals the reply, and reports it.

Runs in the asyncio thread. Each `CallModel` and `Settle` ends in exactly one journaled reply, even
if something fails, so that no user's queue can stall. It must never report a reply that the journal
has not returned.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from dataflow.background_calls import BackgroundCalls, thread_name
from dataflow.draft import STATUS_AFTER_S, Draft
from dataflow.effects import (
    INTERNAL,
    Answered,
    CallModel,
    Cancel,
    Settle,
    Summarize,
    Summarized,
    Wait,
)
from dataflow.images import Images
from dataflow.journal_capacity import JournalCapacity
from dataflow.model.client import ModelClient
from dataflow.model.errors import ModelError
from dataflow.model.request_body import Asker
from dataflow.overdue import Overdue
from dataflow.unreported_usage import total, usage_so_far
from dataflow.variants import Variant, Variants
from shared import metrics
from shared.bus import Bus
from shared.log import logger
from shared.messages import Ask, Journaled, Outcome, Reply, Timings, Usage
from shared.tuning import GarbageForCalls

BROKEN_OFF: Final = "\n\n[The answer broke off here. {notice}]"
NO_ROOM: Final = (
    "My store of answers is full, so I cannot answer at the moment. "
    "Please let whoever runs this bot know."
)
JOURNAL_AGAIN_S: Final = 5.0
"""Wait after a defect that kept even a failure notice out of the journal."""

OnResult = Callable[[str, Journaled | Summarized], None]
"""Reports a reply or a summary to the worker that keeps this user's conversation."""


class _Result(NamedTuple):
    """The outcome of a question and the text of its reply, with model and usage if answered.

    `estimate` is the usage of a call if nobody reported it.
    """

    outcome: Outcome
    text: str
    model: str = ""
    usage: Usage | None = None
    estimate: Usage | None = None


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
        self._running: dict[str, _Answer] = {}
        self._queued: dict[str, Draft] = {}
        self._background = BackgroundCalls(model)
        self._stopping = False
        self._garbage = GarbageForCalls()
        metrics.in_flight.set_function(lambda: len(self._running))

    @property
    def idle(self) -> bool:
        """Whether no answer is in progress. Nothing waits for calls in the background."""
        return not self._running

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
                pass  # new questions stay pending in the recovery store
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
        answer = _Answer(
            self._bus, self._model, self._capacity, effect, older,
            draft=draft, images=self._images, estimates=self._estimates,
            variant=self._variants.of(effect.ask),
        )  # fmt: skip
        self._running[effect.ask.id] = answer

        def ended(task: asyncio.Task[Journaled | None]) -> None:
            if self._running.get(effect.ask.id) is answer:
                del self._running[effect.ask.id]
            if not task.cancelled() and (journaled := task.result()) is not None:
                on_result(user, journaled)

        answer.task.add_done_callback(ended)


class _Answer:
    """One question in progress."""

    def __init__(
        self,
        bus: Bus,
        model: ModelClient,
        capacity: JournalCapacity,
        effect: CallModel | Settle,
        older: "_Answer | None",
        *,
        draft: Draft,
        images: Images,
        estimates: bool,
        variant: Variant | None,
    ) -> None:
        self._estimates = estimates
        self._bus = bus
        self._variant = variant
        self._model = model if variant is None else variant.client
        self._capacity = capacity
        self._images = images
        self._effect = effect
        self._older = older
        self._calling = False
        self._called_at: datetime | None = None
        self._cancelled_as: Outcome | None = None
        self._superseded = False
        self.unreported: Usage | None = None
        """The estimated usage of this call and those it replaces, as far as nobody reported it."""
        self._draft = draft
        self.task = asyncio.get_running_loop().create_task(self._run())

    def cancel(self, outcome: Outcome | None) -> None:
        """Ends the model call with an outcome; None: another call replaces this one."""
        self._cancelled_as = outcome
        self._superseded = outcome is None
        if self._calling:
            self._calling = False  # cancel only the call: its reply must still be journaled
            self.task.cancel()

    async def _run(self) -> Journaled | None:
        """The reply that the journal returned; None if another call replaces this one."""
        try:
            return await self._journaled()
        except Exception:  # noqa: BLE001  (a defect must not stall this user's queue)
            logger().exception("defect while answering", prompt=self._effect.ask.id)
        finally:
            self._draft.close()
        while True:
            try:
                return await self._bus.journal(_reply(self._effect, _Result("failed", INTERNAL)))
            except Exception:  # noqa: BLE001  (no question is settled without a stored reply)
                logger().exception("defect while journaling", prompt=self._effect.ask.id)
                await asyncio.sleep(JOURNAL_AGAIN_S)

    async def _journaled(self) -> Journaled | None:
        effect, ask = self._effect, self._effect.ask
        started = time.monotonic()
        if isinstance(effect, CallModel):
            self._draft.ask(effect.after)
        if self._older is not None:
            self._draft.wait("earlier")
            await asyncio.wait([self._older.task])
        if isinstance(effect, CallModel) and effect.check_journal:
            stored = await self._bus.stored_reply(ask.user, ask.id)
            if stored is not None:
                metrics.answered_before.inc()
                return stored
        result = await self._result()
        self._draft.close()
        self.unreported = result.estimate
        if self._older is not None and self._older.unreported is not None:
            self.unreported = total(self._older.unreported, result.estimate)
        if self._superseded:
            return None
        reply = _reply(effect, result, self._timings(), self.unreported, self._experiment)
        journaled = await self._bus.journal(reply)
        took_s = time.monotonic() - started
        metrics.answer_s.observe(took_s)
        logger().info(
            "answered",
            prompt=ask.id,
            outcome=journaled.reply.outcome,
            took_ms=round(took_s * 1000),
        )
        return journaled

    async def _result(self) -> _Result:
        effect = self._effect
        estimate = None
        if isinstance(effect, Settle):
            return _Result(effect.outcome, effect.text)
        if self._cancelled_as is None and not self._superseded:
            if self._capacity.nearly_full:
                return _Result("failed", NO_ROOM)
            self._calling = True
            try:
                return await self._call(effect)
            except asyncio.CancelledError:
                if self._cancelled_as is None and not self._superseded:
                    raise  # the process stops, and the question stays pending
                self.task.uncancel()
            finally:
                self._calling = False
            if self._estimates:
                estimate = usage_so_far(effect.request, self._draft.text)
        text = "" if self._cancelled_as == "withdrawn" else self._draft.text
        return _Result(self._cancelled_as or "stopped", text, estimate=estimate)

    def _timings(self) -> Timings | None:
        if self._called_at is None:
            return None
        return Timings(called_at=self._called_at, first_token_at=self._draft.first_token_at)

    @property
    def _experiment(self) -> str:
        """The experiment whose model was called; empty: none, or no model was called."""
        was_called = self._called_at is not None
        return self._variant.experiment.name if self._variant and was_called else ""

    async def _call(self, effect: CallModel) -> _Result:
        ask, request = effect.ask, effect.request.messages
        if self._variant is not None:
            request = self._variant.messages(request)
        logger().debug("asked", prompt=ask.id, messages=len(effect.request.messages))
        if ask.attachments:
            self._draft.wait("pictures")
        try:
            async with self._images.with_images(ask, request) as messages:
                self._draft.wait("slow")
                self._called_at = datetime.now(UTC)
                done = await self._model.answer(
                    messages,
                    model=ask.model,
                    on_text=self._draft.add,
                    on_start_over=self._draft.start_over,
                    on_wait=self._draft.wait,
                    asker=Asker(ask.user, thread_name(ask.place)),
                )
        except ModelError as error:
            logger().warning("failed", prompt=ask.id, why=str(error)[:300])
            if self._draft.text.strip():
                notice = BROKEN_OFF.format(notice=error.notice)
                estimate = None
                if self._estimates:
                    estimate = usage_so_far(effect.request, self._draft.text)
                return _Result("failed", self._draft.text + notice, estimate=estimate)
            return _Result("failed", error.notice)
        except Exception:  # noqa: BLE001  (a defect must not stall this user's queue)
            logger().exception("failed", prompt=ask.id)
            return _Result("failed", INTERNAL)
        estimate = None
        if done.usage is not None:
            metrics.count(metrics.tokens, done.usage)
        elif self._estimates:
            estimate = usage_so_far(effect.request, done.text)
        return _Result("answered", done.text, done.model, done.usage, estimate)


def _reply(
    effect: CallModel | Settle,
    result: _Result,
    timings: Timings | None = None,
    unreported: Usage | None = None,
    experiment: str = "",
) -> Reply:
    ask = effect.ask
    return Reply(
        prompt_id=ask.id,
        user=ask.user,
        place=ask.place,
        address=ask.address,
        outcome=result.outcome,
        text=result.text,
        # Whoever withdraws a question wants it gone.
        prompt_text="" if result.outcome == "withdrawn" else ask.text,
        model=result.model,
        usage=result.usage,
        estimated_usage=unreported,
        said_at=ask.said_at,
        answered_at=datetime.now(UTC),
        after=effect.after,
        timings=timings,
        experiment=experiment,
        background=effect.background if isinstance(effect, CallModel) else (),
    )
