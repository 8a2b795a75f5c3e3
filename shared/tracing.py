"""Traces of a question's whole way, one function per step; docs/traces.md lists the spans.

While traces are off, nothing of OpenTelemetry is imported, and each function only looks at one
variable. A trace must never hold what people wrote or who they are, and never delay a message.
"""

import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final

from shared.traces.ids import sent_in
from shared.traces.settings import TraceSettings
from shared.traces.span import OFF, Span, caller
from shared.traces.variables import check

if TYPE_CHECKING:
    from shared.messages import AnyEvent, Ask, Event
    from shared.replies import Reply
    from shared.traces.export import Traces

__all__ = ["OFF", "Span"]

PACKAGES: Final = (
    "opentelemetry.sdk.trace",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
)
NOT_INSTALLED: Final = (
    "traces need the extra `traces`: run `make setup-traces` in the checkout, or "
    "`pip install 'threadwax[traces]'`; an image needs `--build-arg TRACES=1`. Without "
    "OTEL_EXPORTER_OTLP_ENDPOINT, or with OTEL_SDK_DISABLED=true, there are no traces"
)
OTHER_PROTOCOL: Final = (
    "{name} is set to another protocol than http/protobuf, the only one in which traces are sent: "
    "remove it, and set OTEL_EXPORTER_OTLP_ENDPOINT to the receiver's port for HTTP, usually 4318"
)
OTHER_EXPORTER: Final = (
    "OTEL_TRACES_EXPORTER is neither otlp nor none: set it to otlp, or remove it"
)
WRONG_VALUE: Final = (
    "a variable of OpenTelemetry has a wrong value: {why}. Correct or remove it, or set "
    "OTEL_SDK_DISABLED=true for a start without traces"
)

STOP_S: Final = 1.0
"""How long a process that ends waits until its last spans are sent."""

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


class CannotTrace(Exception):
    """Traces are switched on and cannot be made; the text says what to do."""


class _Process:
    """What this process has chosen, and its traces if they are on."""

    variables: Mapping[str, str] = {}
    traces: "Traces | None" = None


def configure(settings: TraceSettings) -> None:
    """Keeps the settings for `start`."""
    _Process.variables = settings.variables()


def start(process: str) -> None:
    """Switches traces on if the settings say so. Starts a thread; `process` names the service.

    Raises:
        CannotTrace: they are switched on, but the extra is missing or a variable is wrong.
    """
    variables = {**os.environ, **_Process.variables}
    if not is_on(variables):
        return
    try:
        missing = any(importlib.util.find_spec(package) is None for package in PACKAGES)
    except ModuleNotFoundError:  # of a package above one of them
        missing = True
    if missing:
        raise CannotTrace(NOT_INSTALLED)
    os.environ.update(_Process.variables)  # where the library reads them
    os.environ.setdefault("OTEL_TRACES_SAMPLER_ARG", "1.0")  # the default, without its warning
    try:
        check(variables)
        # Imported here, so that a process without traces does not import the library.
        from shared.traces.export import Traces  # noqa: PLC0415

        _Process.traces = Traces(process)
    except ValueError as error:  # the library checks others, some of them at its import
        raise CannotTrace(WRONG_VALUE.format(why=error)) from None


def stop() -> None:
    """Sends the last spans, for at most `STOP_S` seconds. Call after everything else has ended."""
    if _Process.traces is not None:
        _Process.traces.stop(STOP_S)
        _Process.traces = None


def is_on(variables: Mapping[str, str]) -> bool:
    """Whether these environment variables switch traces on.

    Raises:
        CannotTrace: they ask for something that is not supported.
    """
    exporter = variables.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
    if (
        not any(variables.get(name, "").strip() for name in _ENDPOINTS)
        or variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        or exporter == "none"
    ):
        return False
    if exporter != "otlp":
        raise CannotTrace(OTHER_EXPORTER)
    for name in _PROTOCOLS:
        protocol = variables.get(name, "").strip().lower()
        if protocol == "http/protobuf":
            break  # the more specific name wins
        if protocol:
            raise CannotTrace(OTHER_PROTOCOL.format(name=name))
    return True


# --- an adapter stores a question ------------------------------------------------------------


@contextmanager
def asked_by(headers: Mapping[str, str] | None) -> Iterator[None]:
    """Links the question that is published in this block to the client's own trace."""
    if _Process.traces is None:
        yield
        return
    token = caller.set(sent_in(headers))
    try:
        yield
    finally:
        caller.reset(token)


def publishing(event: "Event") -> Span:
    """An event is published."""
    return OFF if _Process.traces is None else _Process.traces.publishing(event)


# --- the dataflow answers it -----------------------------------------------------------------


def read(event: "AnyEvent", stored_at: datetime, *, replayed: bool) -> None:
    """An event that was stored at this time has been read from the stream."""
    if _Process.traces is not None:
        _Process.traces.read(event, stored_at, replayed=replayed)


def answering(ask: "Ask") -> Span:
    """A question's turn has come."""
    return OFF if _Process.traces is None else _Process.traces.answering(ask)


def waiting(what: str) -> Span:
    """A call waits: `what` says until when, in a few fixed words."""
    return OFF if _Process.traces is None else _Process.traces.waiting(what)


def calling(model: str, base_url: str, answer_tokens: int) -> Span:
    """A model is called."""
    if _Process.traces is None:
        return OFF
    return _Process.traces.calling(model, base_url, answer_tokens)


def journaling(reply: "Reply") -> Span:
    """A reply is stored in the journal."""
    return OFF if _Process.traces is None else _Process.traces.journaling(reply)


# --- an adapter shows the reply --------------------------------------------------------------


def delivered(prompt_id: str) -> None:
    """NATS has delivered a reply to this process."""
    if _Process.traces is not None:
        _Process.traces.delivered(prompt_id)


def showing(reply: "Reply", headers: Mapping[str, str] | None) -> Span:
    """A reply is shown, which came with these headers."""
    return OFF if _Process.traces is None else _Process.traces.showing(reply, headers)


def posting(platform: str, part: int) -> Span:
    """A part of a reply is posted."""
    return OFF if _Process.traces is None else _Process.traces.posting(platform, part)


# --- the recorder ----------------------------------------------------------------------------


def recorded(prompt_id: str, stored_at: datetime) -> None:
    """The reply that was journaled at this time is in the database."""
    if _Process.traces is not None:
        _Process.traces.recorded(prompt_id, stored_at)
