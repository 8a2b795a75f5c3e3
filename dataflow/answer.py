"""One question in progress: calls the model, shows partials, and journals the reply.

Each `CallModel` and `Settle` ends in exactly one journaled reply, even if something fails, so that
no user's queue can stall.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from dataflow.background_calls import thread_name
from dataflow.draft import Draft
from dataflow.effects import BROKEN_OFF, INTERNAL, CallModel, Settle
from dataflow.images import Images
from dataflow.journal_capacity import JournalCapacity
from dataflow.model.client import ModelClient
from dataflow.model.errors import ModelError
from dataflow.model.request_body import Asker
from dataflow.unreported_usage import total, usage_so_far
from dataflow.variants import Variant
from shared import metrics, tracing
from shared.bus import Bus
from shared.log import logger
from shared.replies import Journaled, Outcome, Reply, Timings, Usage

NO_ROOM: Final = (
    "My store of answers is full, so I cannot answer at the moment. "
    "Please let whoever runs this bot know."
)
ELSEWHERE_S: Final = 20.0
"""A process that ends has this long to finish its answers (`run.DRAIN_S`)."""

JOURNAL_AGAIN_S: Final = 5.0
"""Wait after a defect that kept even a failure notice out of the journal."""


UntilCertain = Callable[[], Awaitable[None]]


class _Result(NamedTuple):
    """The outcome of a question and the text of its reply, with model and usage if answered.

    `estimate` is the usage of a call if nobody reported it.
    """

    outcome: Outcome
    text: str
    model: str = ""
    usage: Usage | None = None
    estimate: Usage | None = None


class Answer:
    """One question in progress."""

    def __init__(
        self,
        bus: Bus,
        model: ModelClient,
        capacity: JournalCapacity,
        effect: CallModel | Settle,
        older: "Answer | None",
        *,
        draft: Draft,
        images: Images,
        estimates: bool,
        variant: Variant | None,
        until_certain: UntilCertain,
    ) -> None:
        """Begins at once. `older` is the call for the same question that this one replaces.

        `until_certain` returns when this process certainly serves the user.
        """
        self._until_certain = until_certain
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

    @property
    def user(self) -> str:
        """The user whose question is answered."""
        return self._effect.ask.user

    @property
    def said_at(self) -> datetime:
        """When the question was asked."""
        return self._effect.ask.said_at

    def cancel(self, outcome: Outcome | None) -> None:
        """Ends the model call with an outcome; None: another call replaces this one."""
        self._cancelled_as = outcome
        self._superseded = outcome is None
        if self._calling:
            self._calling = False  # cancel only the call: its reply must still be journaled
            self.task.cancel()

    async def _run(self) -> Journaled | None:
        """The reply that the journal returned; None if another call replaces this one."""
        with tracing.answering(self._effect.ask) as span:
            return await self._replied(span)

    async def _replied(self, span: tracing.Span) -> Journaled | None:
        try:
            return await self._journaled(span)
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

    async def _journaled(self, span: tracing.Span) -> Journaled | None:
        effect, ask = self._effect, self._effect.ask
        started = time.monotonic()
        if isinstance(effect, CallModel):
            self._draft.ask(effect.after)
        if self._older is not None:
            self._draft.wait("earlier")
            await asyncio.wait([self._older.task])
        if isinstance(effect, CallModel) and effect.check_journal:
            stored = await self._bus.stored_reply(ask.user, ask.id)
            if stored is None and effect.answered_elsewhere:
                stored = await self._answered_elsewhere()
            if stored is not None:
                metrics.answered_before.inc()
                span.drop()
                return stored
        result = await self._result()
        self._draft.close()
        self.unreported = result.estimate
        if self._older is not None and self._older.unreported is not None:
            self.unreported = total(self._older.unreported, result.estimate)
        if self._superseded:
            span.set("threadwax.outcome", "superseded")
            return None
        reply = _reply(effect, result, self._timings(), self.unreported, self._experiment)
        journaled = await self._bus.journal(reply)
        took_s = time.monotonic() - started
        metrics.answer_s.observe(took_s)
        span.set("threadwax.outcome", journaled.reply.outcome)
        logger().info(
            "answered",
            prompt=ask.id,
            outcome=journaled.reply.outcome,
            took_ms=round(took_s * 1000),
        )
        return journaled

    async def _answered_elsewhere(self) -> Journaled | None:
        """The reply of the process that was answering when it gave its users away."""
        ask = self._effect.ask
        self._calling = True  # a stop ends the wait
        try:
            reply = await self._bus.reply_when_stored(ask.user, ask.id, timeout_s=ELSEWHERE_S)
        except asyncio.CancelledError:
            if self._cancelled_as is None and not self._superseded:
                raise
            self.task.uncancel()
            return None
        finally:
            self._calling = False
        return None if reply is None else await self._bus.stored_reply(ask.user, ask.id)

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
                await self._until_certain()
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
                waited_s = (self._called_at - ask.said_at).total_seconds()
                metrics.wait_s.observe(max(0.0, waited_s))
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
