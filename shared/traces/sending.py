"""Sends batches of spans, and says once that the receiver does not take them.

It must never log a header, an address with credentials, or what the receiver says.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from typing_extensions import override

from shared.log import logger

REMEDY: Final = (
    "check OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS and the receiver's own log; "
    "messages are not delayed, but the traces of this time are lost"
)
UNKNOWN: Final = "it does not answer in time, or is overloaded"


class Sending(SpanExporter):  # type: ignore[misc]  # the extra is not installed where types are checked
    """The library's exporter, with one log line per outage instead of one per batch."""

    def __init__(self) -> None:
        self._why = _Why()
        library = logging.getLogger("opentelemetry")
        library.addHandler(self._why)
        library.propagate = False
        self._exporter = OTLPSpanExporter()
        self._is_refused = False
        self._lost = 0

    @override
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends a batch, for at most OTEL_EXPORTER_OTLP_TIMEOUT seconds."""
        self._why.last = UNKNOWN
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            if not self._is_refused:
                logger().warning("traces are not taken", why=self._why.last, remedy=REMEDY)
            self._is_refused = True
            self._lost += len(spans)
        elif self._is_refused:
            logger().warning("traces are taken again", spans_lost_at_least=self._lost)
            self._is_refused, self._lost = False, 0
        return result

    @override
    def shutdown(self) -> None:
        """Ends a wait between two tries."""
        self._exporter.shutdown()

    @override
    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        del timeout_millis
        return True


class _Why(logging.Handler):
    """Takes the library's log lines, and keeps the status or the type of the last error."""

    def __init__(self) -> None:
        super().__init__()
        self.last = UNKNOWN

    @override
    def emit(self, record: logging.LogRecord) -> None:
        arguments: Any = record.args if isinstance(record.args, tuple) else ()
        for argument in arguments:
            if isinstance(argument, int) and record.levelno >= logging.ERROR:
                self.last = f"HTTP status {argument}"
                return
            if isinstance(argument, Exception):
                self.last = type(argument).__name__
