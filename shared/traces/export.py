"""Begins the span of each step, in the trace that the message's id says.

Nothing here waits: spans that the receiver does not take in time are dropped. It must never record
the text of a message or an exception, nor an id that names a person.
"""

import os
import re
import socket
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode

from shared import log, names, user_names
from shared.messages import Again, AnyEvent, Ask, Edited, Event, Forget
from shared.recent import RecentMap
from shared.replies import Reply
from shared.traces.ids import SpanIds, root_of, sent_in, with_trace_id
from shared.traces.recording import Calling, Publishing, Step, harmless
from shared.traces.sending import Sending
from shared.traces.span import OFF, Span, caller

ANSWERED: Final = (Ask, Again, Edited, Forget)
"""The events that can have a reply under their own id, and so a trace."""

REMEMBERED: Final = 8192
"""Questions whose time of arrival in this process is remembered for the next span."""

_NAMED: Final = re.compile(r"(^|,)\s*service\.name\s*=")


class Traces:
    """The spans of one process."""

    def __init__(self, process: str) -> None:
        attributes: dict[str, Any] = {
            "service.namespace": "threadwax",
            "service.version": version("threadwax"),
            "service.instance.id": f"{socket.gethostname()}.{os.getpid()}",
            "threadwax.process": process,
        }
        if not os.environ.get("OTEL_SERVICE_NAME") and not _NAMED.search(
            os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        ):
            attributes["service.name"] = f"threadwax-{process}"
        # At its exit, a process must not wait for the receiver.
        self._provider = TracerProvider(
            resource=Resource.create(attributes), shutdown_on_exit=False
        )
        self._processor = BatchSpanProcessor(Sending())
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("threadwax", version("threadwax"))
        self._read_at: RecentMap[str, int] = RecentMap(REMEMBERED)
        self._delivered_at: RecentMap[str, int] = RecentMap(REMEMBERED)
        log.add_to_lines(with_trace_id)

    def stop(self, within_s: float) -> None:
        """Sends the last spans, for at most this long."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(within_s)

    # --- an adapter stores a question -------------------------------------------------------

    @harmless
    def publishing(self, event: Event) -> Span:
        """Once the event is stored, this also records the trace's first span."""
        if not isinstance(event, ANSWERED):
            return OFF
        attributes = {
            **_messaging("send", names.PROMPTS),
            "threadwax.platform": _platform(event.user),
            "threadwax.kind": event.kind,
        }
        begun_ns, came_from = time.time_ns(), caller.get()
        links = [Link(_remote(came_from, sampled=True))] if came_from is not None else []

        def stored() -> None:
            self._first(event, begun_ns, attributes, links)

        return Publishing(
            self._begun(f"send {names.PROMPTS}", event.id, SpanKind.PRODUCER, attributes), stored
        )

    def _first(
        self, event: Event, begun_ns: int, attributes: Mapping[str, Any], links: list[Link]
    ) -> None:
        """Records the first span, whose ids are computed, so the library cannot begin it."""
        ids = root_of(event.id)
        if not self._is_sampled(ids):
            return
        kept = ("threadwax.platform", "threadwax.kind")
        self._processor.on_end(
            ReadableSpan(
                name="question",
                context=_remote(ids, sampled=True),
                resource=self._provider.resource,
                attributes={name: attributes[name] for name in kept},
                links=links,
                kind=SpanKind.SERVER,
                instrumentation_scope=self._tracer._instrumentation_scope,  # noqa: SLF001
                status=Status(StatusCode.UNSET),
                start_time=min(_ns(event.said_at), begun_ns),
                end_time=time.time_ns(),
            )
        )

    # --- the dataflow answers it ------------------------------------------------------------

    @harmless
    def read(self, event: AnyEvent, stored_at: datetime, *, replayed: bool) -> None:
        """Records the wait in the stream: from when NATS stored the event until now."""
        if not isinstance(event, ANSWERED):
            return
        now_ns = self._read_at[event.id] = time.time_ns()
        attributes = {**_messaging("receive", names.PROMPTS), "threadwax.replayed": replayed}
        self._past(
            f"receive {names.PROMPTS}", event.id, begun_ns=_ns(stored_at), ended_ns=now_ns,
            kind=SpanKind.CONSUMER, attributes=attributes,
        )  # fmt: skip

    @harmless
    def answering(self, ask: Ask) -> Span:
        """Also records how long the question waited here, unless the span is dropped."""
        read_ns = self._read_at.get(ask.id)
        self._read_at[ask.id] = 0
        begun_ns = time.time_ns()

        def ended() -> None:
            if read_ns:
                self._past("wait for turn", ask.id, begun_ns=read_ns, ended_ns=begun_ns)

        attributes = {
            "threadwax.platform": _platform(ask.user),
            # It was pending in the store when this process began to serve its user.
            "threadwax.resumed": read_ns is None,
        }
        return Step(self._begun("answer", ask.id, SpanKind.INTERNAL, attributes), ended)

    @harmless
    def waiting(self, what: str) -> Span:
        """Within another span; otherwise nobody's question waits."""
        if not _current().is_valid:
            return OFF
        return Step(self._tracer.start_span(f"wait {what}"))

    @harmless
    def calling(self, model: str, base_url: str, answer_tokens: int) -> Span:
        """Within another span; calls in the background belong to no question."""
        if not _current().is_valid:
            return OFF
        url = urlsplit(base_url)
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",  # whose protocol it speaks
            "gen_ai.request.model": model,
            "gen_ai.request.max_tokens": answer_tokens,
            "server.address": url.hostname or "",
            "server.port": url.port or (80 if url.scheme == "http" else 443),
        }
        return Calling(
            self._tracer.start_span(f"chat {model}", kind=SpanKind.CLIENT, attributes=attributes)
        )

    @harmless
    def journaling(self, reply: Reply) -> Span:
        """Its context goes into the journal, with the reply."""
        attributes = {
            **_messaging("send", names.REPLIES),
            "threadwax.platform": _platform(reply.user),
            "threadwax.outcome": reply.outcome,
        }
        name = f"send {names.REPLIES}"
        return Step(self._begun(name, reply.prompt_id, SpanKind.PRODUCER, attributes))

    # --- an adapter shows the reply ---------------------------------------------------------

    @harmless
    def delivered(self, prompt_id: str) -> None:
        """The time at which it begins to be shown."""
        self._delivered_at[prompt_id] = time.time_ns()

    @harmless
    def showing(self, reply: Reply, headers: Mapping[str, str] | None) -> Span:
        """Caused by the span in the headers, if that is one of the question's own trace."""
        attributes = {
            **_messaging("process", names.REPLIES),
            "threadwax.platform": _platform(reply.user),
            "threadwax.outcome": reply.outcome,
        }
        root, cause = root_of(reply.prompt_id), sent_in(headers)
        parent = cause if cause is not None and cause.trace == root.trace else root
        span = self._tracer.start_span(
            "show",
            context=self._within(parent),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            start_time=self._delivered_at.pop(reply.prompt_id, None),
        )
        return Step(span)

    @harmless
    def posting(self, platform: str, part: int) -> Span:
        """Within `showing`."""
        attributes = {"threadwax.platform": platform, "threadwax.part": part}
        return Step(self._tracer.start_span("post", kind=SpanKind.CLIENT, attributes=attributes))

    # --- the recorder -----------------------------------------------------------------------

    @harmless
    def recorded(self, prompt_id: str, stored_at: datetime) -> None:
        """From the journal to the database."""
        self._past(
            "record", prompt_id, begun_ns=_ns(stored_at), ended_ns=time.time_ns(),
            kind=SpanKind.CONSUMER, attributes=_messaging("process", names.REPLIES),
        )  # fmt: skip

    # --- spans ------------------------------------------------------------------------------

    def _begun(
        self, name: str, prompt_id: str, kind: SpanKind, attributes: Mapping[str, Any]
    ) -> Any:
        """A span of this question's trace: within the current one, or else under the first."""
        root = root_of(prompt_id)
        inside = _current().trace_id == root.trace
        context = None if inside else self._within(root)
        return self._tracer.start_span(name, context=context, kind=kind, attributes=attributes)

    def _past(
        self,
        name: str,
        prompt_id: str,
        *,
        begun_ns: int,
        ended_ns: int,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """A span that is over, under the first one. The clock of NATS may be a little ahead."""
        span = self._tracer.start_span(
            name,
            context=self._within(root_of(prompt_id)),
            kind=kind,
            attributes=attributes,
            start_time=min(begun_ns, ended_ns),
        )
        span.end(ended_ns)

    def _within(self, parent: SpanIds) -> Context:
        remote = _remote(parent, sampled=self._is_sampled(parent))
        return api.set_span_in_context(NonRecordingSpan(remote), Context())

    def _is_sampled(self, ids: SpanIds) -> bool:
        """The decision about the whole trace, which is the same in every process."""
        sampler = self._provider.sampler
        return bool(sampler.should_sample(None, ids.trace, "question").decision.is_sampled())


def _platform(user: str) -> str:
    """Not the place's: that can be any text, if another program publishes an event."""
    return user_names.split_user(user)[0]


def _messaging(operation: str, stream: str) -> dict[str, Any]:
    return {
        "messaging.system": "nats",
        "messaging.operation.type": operation,
        "messaging.destination.name": stream,
    }


def _remote(ids: SpanIds, *, sampled: bool) -> SpanContext:
    flags = api.TraceFlags(api.TraceFlags.SAMPLED if sampled else api.TraceFlags.DEFAULT)
    return SpanContext(ids.trace, ids.span, is_remote=True, trace_flags=flags)


def _current() -> SpanContext:
    return api.get_current_span().get_span_context()


def _ns(at: datetime) -> int:
    """Nanoseconds since 1970; 0 for a time before that, which OTLP cannot express."""
    return max(0, round(at.timestamp() * 1_000_000) * 1000)
