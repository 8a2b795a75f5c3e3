"""Whether the model answers: since when every call has failed, and why.

Call from the asyncio thread. A single failure says little, and an old one nothing: only calls that
keep failing for a minute count.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from dataflow.model.errors import ELSEWHERE, ModelError, Why
from shared import metrics

FAILED_FOR_S: Final = 60.0
"""For this long, every call must have failed before the model counts as away."""

STALE_AFTER_S: Final = 600.0
"""After this long without a call, nothing is known about the model."""


class ModelHealth:
    """The outcomes of the calls of one client."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._last = 0.0
        self._why: Why | None = None

    @property
    def is_failing(self) -> bool:
        """Whether the last call failed, or a try of it did."""
        return self._since is not None

    @property
    def failing_s(self) -> float:
        """How long every call has failed; 0 if the last one succeeded, or nothing is known."""
        now = self._clock()
        if self._since is None or now - self._last > STALE_AFTER_S:
            return 0.0
        return now - self._since

    @property
    def trouble(self) -> str:
        """Why nobody gets an answer at the moment; empty if people do, or nothing is known."""
        seconds = self.failing_s
        if seconds < FAILED_FOR_S:
            return ""
        return f"every call of the model has failed for {seconds:.0f} s: {self._why}"

    def answered(self) -> bool:
        """Notes that the model began to answer; returns whether it had failed before."""
        failed, self._since = self._since is not None, None
        return failed

    def failed(self, why: Why) -> bool:
        """Notes a failed try; returns whether it is the first one.

        Failures that are about one question only, such as a refusal, are ignored.
        """
        if why not in ELSEWHERE:
            return False
        now = self._clock()
        is_first = self._since is None or now - self._last > STALE_AFTER_S
        if is_first:
            self._since = now
        self._last, self._why = now, why
        return is_first

    @contextmanager
    def observed(self) -> Iterator[None]:
        """Measures a call, and notes its failure."""
        started = self._clock()
        try:
            yield
        except ModelError as error:
            self.failed(error.why)
            metrics.model_failed.labels(error.why).inc()
            raise
        metrics.model_call_s.observe(self._clock() - started)
