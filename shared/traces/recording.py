"""Spans that are being measured.

It must never record the text of an exception, nor raise one: a defect here must not cost an answer.
"""

import functools
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar

from opentelemetry import context as contexts
from opentelemetry import trace as api
from opentelemetry.trace import StatusCode
from typing_extensions import override

from shared.log import logger
from shared.log_throttle import LogThrottle
from shared.replies import Usage
from shared.traces.ids import HEADER, SpanIds
from shared.traces.span import OFF, Span

P = ParamSpec("P")
Made = TypeVar("Made", Span, None)

_throttle: Final = LogThrottle()


def harmless(make: Callable[P, Made]) -> Callable[P, Made]:
    """Turns any exception of a function into a log line and a span that does nothing."""

    @functools.wraps(make)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Made:
        try:
            return make(*args, **kwargs)
        except Exception:  # noqa: BLE001  (nobody's answer depends on a trace)
            if times := _throttle.times(make.__name__, time.monotonic()):
                logger().exception("defect while tracing", step=make.__name__, times=times)
            return OFF  # type: ignore[return-value]  # where nothing is returned, nobody uses it

    return guarded


class Step(Span):
    """A span that is being measured; `then` is called when it ends and was not dropped."""

    def __init__(self, span: Any, then: Callable[[], None] | None = None) -> None:
        self._span = span
        self._then = then
        self._tries = 0
        self._is_over = False
        self._token: Any = None

    @property
    @override
    def headers(self) -> Mapping[str, str]:
        here = self._span.get_span_context()
        ids = SpanIds(here.trace_id, here.span_id)
        return {HEADER: ids.traceparent(sampled=here.trace_flags.sampled)}

    @override
    def set(self, name: str, value: float | str) -> None:
        self._span.set_attribute(name, value)

    @override
    def tried(self) -> None:
        self._tries += 1

    @override
    def stored(self, *, new: bool) -> None:
        if not new:
            self._span.set_attribute("threadwax.stored_before", True)  # noqa: FBT003  (their API)

    @override
    def fail(self, why: str) -> None:
        self._span.set_attribute("error.type", why)
        self._span.set_status(StatusCode.ERROR)

    @override
    @harmless
    def end(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        if self._tries > 1:
            self._span.set_attribute("threadwax.tries", self._tries)
        self._span.end()
        if self._then is not None:
            self._then()

    @override
    def drop(self) -> None:
        self._is_over = True

    @override
    def __enter__(self) -> Self:
        self._token = contexts.attach(api.set_span_in_context(self._span))
        return self

    @override
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        contexts.detach(self._token)
        if kind is not None and not self._is_over:
            self.fail(kind.__name__)
        self.end()


class Calling(Step):
    """A model that is called."""

    def __init__(self, span: Any) -> None:
        super().__init__(span)
        self._begun_s = time.monotonic()

    @override
    def first_text(self) -> None:
        self.set("gen_ai.response.time_to_first_chunk", time.monotonic() - self._begun_s)

    @override
    def answered(self, finish: str, usage: Usage | None) -> None:
        if finish:
            self._span.set_attribute("gen_ai.response.finish_reasons", (finish,))
        if usage is None:
            return
        for name, count in (
            ("input_tokens", usage.prompt_tokens),
            ("output_tokens", usage.completion_tokens),
            ("cache_read.input_tokens", usage.cached_tokens),
            ("reasoning.output_tokens", usage.reasoning_tokens),
        ):
            if count is not None:
                self._span.set_attribute(f"gen_ai.usage.{name}", count)


class Publishing(Step):
    """A question that is published. It begins a trace if this call is what stored it."""

    def __init__(self, span: Any, begins: Callable[[], None]) -> None:
        super().__init__(span)
        self._begins = begins

    @override
    def stored(self, *, new: bool) -> None:
        # Not new after an earlier try: that one was the first, and its acknowledgement was lost.
        if new or self._tries > 1:
            self._then = self._begins
        else:
            self.drop()
