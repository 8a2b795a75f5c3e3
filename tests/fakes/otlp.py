"""A receiver of OTLP over HTTP, which decodes with OpenTelemetry's own protocol buffers."""

import asyncio
import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

TYPE = "application/x-protobuf"


@dataclass(frozen=True)
class Received:
    """A span, and the process that sent it. Times are nanoseconds since 1970."""

    service: str
    instance: str
    trace: str
    id: str
    parent: str
    name: str
    kind: str
    begun: int
    ended: int
    failed: bool
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...] = ()


@dataclass
class FakeReceiver:
    """Keeps what it receives. `status` is its response, which comes after `delay_s`."""

    host: str = "127.0.0.1"

    status: int = 200
    delay_s: float = 0.0
    spans: list[Received] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def start(self, port: int = 0) -> "FakeReceiver":
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/traces", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, port).start()
        self.port: int = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def until(
        self, done: Callable[[list[Received]], bool], seconds: float = 30.0
    ) -> list[Received]:
        """Waits until this is true of the spans."""
        try:
            async with asyncio.timeout(seconds):
                while not done(self.spans):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"received: {[(s.service, s.name) for s in self.spans]}") from None
        return self.spans

    async def _take(self, request: web.Request) -> web.Response:
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2  # noqa: PLC0415

        self.headers.append(dict(request.headers))
        body = await request.read()
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.status != 200:
            return web.Response(status=self.status, text="not now: hush-hush")
        assert request.content_type == TYPE
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        self.bodies.append(body)
        message = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
        for resource in message.resource_spans:
            about = _attributes(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans += [_received(about, span) for span in scope.spans]
        answer = trace_service_pb2.ExportTraceServiceResponse()
        return web.Response(body=answer.SerializeToString(), content_type=TYPE)


def _received(about: dict[str, Any], span: Any) -> Received:
    kinds = type(span).SpanKind
    return Received(
        service=about["service.name"],
        instance=about["service.instance.id"],
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        name=span.name,
        kind=kinds.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        begun=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        failed=span.status.code == 2,
        attributes=_attributes(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind) if kind else None
