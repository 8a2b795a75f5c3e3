"""Model calls in the background: summaries, for which nobody waits.

Runs in the asyncio thread. They must never take the place of an answer, nor keep the process from
stopping. Each `Summarize` ends in one `Summarized`, unless the process stops.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from dataflow.effects import Summarize, Summarized
from dataflow.model.client import ModelClient
from dataflow.model.errors import ModelError
from dataflow.model.request_body import Asker
from shared import metrics
from shared.log import logger
from shared.messages import Place
from shared.replies import BackgroundCall

CALLS_LIMIT: Final = 4
ANSWERS_PER_CALL: Final = 8
"""At most this many calls, or one per eight answers in progress if that is more."""

OnSummarized = Callable[[str, Summarized], None]
"""Reports a result to the worker that keeps this user's conversation."""


class BackgroundCalls:
    """All background calls in progress in this process."""

    def __init__(self, model: ModelClient) -> None:
        self._model = model
        self._tasks: set[asyncio.Task[Summarized]] = set()

    def summarize(
        self, user: str, effect: Summarize, on_summarized: OnSummarized, *, answers: int
    ) -> None:
        """Makes a summary while `answers` answers are in progress. Returns at once."""
        has_room = len(self._tasks) < max(CALLS_LIMIT, answers // ANSWERS_PER_CALL)
        if not has_room or self._model.is_under_pressure:
            metrics.summaries.labels("skipped").inc()
            on_summarized(user, Summarized(effect.fold, "skipped"))
            return
        task = asyncio.get_running_loop().create_task(self._summarized(user, effect))
        self._tasks.add(task)

        def ended(task: asyncio.Task[Summarized]) -> None:
            self._tasks.discard(task)
            if not task.cancelled():
                on_summarized(user, task.result())

        task.add_done_callback(ended)

    def stop(self) -> None:
        """Cancels all calls: they are made again after the next start."""
        for task in self._tasks:
            task.cancel()

    async def _summarized(self, user: str, effect: Summarize) -> Summarized:
        started = time.monotonic()
        try:
            done = await self._model.answer(
                effect.messages,
                model=effect.model,
                on_text=lambda _: None,
                asker=Asker(user, thread_name(effect.fold.place)),
                background=True,
            )
        except ModelError as error:
            logger().warning("no summary", why=str(error)[:300])
            result = Summarized(effect.fold, "failed")
        except Exception:  # noqa: BLE001  (a defect must not keep the user from later summaries)
            logger().exception("no summary")
            result = Summarized(effect.fold, "failed")
        else:
            call = BackgroundCall(kind="summary", model=done.model, usage=done.usage)
            result = Summarized(effect.fold, "written", done.text, call)
            if done.usage is not None:
                metrics.count(metrics.background_tokens, done.usage)
        took_s = time.monotonic() - started
        metrics.summaries.labels(result.outcome).inc()
        logger().info("summarized", outcome=result.outcome, took_ms=round(took_s * 1000))
        return result


def thread_name(place: Place) -> str:
    """The name of a thread for `Asker`."""
    return f"{place.space}/{place.channel}/{place.thread}"
