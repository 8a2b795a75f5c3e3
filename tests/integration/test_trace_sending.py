"""A receiver that is away, and the hand-over of a reply with what caused it."""

import asyncio
import logging
from collections.abc import Iterator

import pytest
from nats.aio.msg import Msg
from structlog.testing import capture_logs

from bots.peers import Peers
from ops.nats_server import NatsServer
from ops.ports import free_port
from shared import names, user_names
from shared.bus import Bus
from shared.tasks import end
from shared.traces.ids import HEADER, root_of
from shared.traces.span import OFF, Span

DEADLINE_S = 20.0


@pytest.fixture
def library() -> Iterator[None]:
    """Leaves the logger of the library as it was."""
    logger = logging.getLogger("opentelemetry")
    handlers, propagates = logger.handlers[:], logger.propagate
    yield
    logger.handlers[:], logger.propagate = handlers, propagates


@pytest.mark.usefixtures("library")
def test_a_receiver_that_is_away_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the kind of failure and a remedy, and without the address or its credentials."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    from shared.traces import sending as module  # noqa: PLC0415  (after the line above)

    address = f"http://ada:hush@127.0.0.1:{free_port()}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    sending = module.Sending()
    with capture_logs() as lines:
        for _ in range(2):
            assert sending.export([]) is module.SpanExportResult.FAILURE
    assert lines == [
        {"event": "traces are not taken", "why": "ConnectionError", "remedy": module.REMEDY,
         "log_level": "warning"},
    ]  # fmt: skip


def test_a_defect_of_a_trace_costs_a_log_line() -> None:
    """Otherwise a message would be read again and again, or its sender would wait forever."""
    pytest.importorskip("opentelemetry.context")
    from shared.traces import recording as module  # noqa: PLC0415  (after the line above)

    @module.harmless
    def broken(text: str) -> Span:
        raise ValueError(text)

    with capture_logs() as lines:
        assert broken("what somebody wrote") is broken("again") is OFF
    (line,) = lines
    assert (line["event"], line["step"]) == ("defect while tracing", "broken")


async def test_a_reply_that_is_handed_over_keeps_its_cause(nats: NatsServer) -> None:
    """The process that shows it continues the same trace."""
    bus = await Bus.connect(nats.url, name="slack")
    first, second = Peers(bus, "slack"), Peers(bus, "slack")
    taken: asyncio.Queue[Msg] = asyncio.Queue()
    running = [
        asyncio.create_task(one.run(taken.put, lambda _: None, lambda: True))
        for one in (first, second)
    ]
    cause = root_of("slack-1").traceparent(sampled=True)
    message = Msg(
        bus.client,
        names.reply_subject(user_names.user_of("slack", "T1/U1"), "slack-1"),
        f"{names.ack_prefix(names.REPLIES)}slack.1.1.1.1.0",
        b"{}",
        {HEADER: cause, "Nats-Expected-Last-Subject-Sequence": "0"},
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not await first.hand_over(second.me, message):
                await asyncio.sleep(0.05)
            handed = await taken.get()
        assert (handed.subject, handed.reply, handed.data) == (
            message.subject, message.reply, message.data,
        )  # fmt: skip
        assert (handed.headers or {})[HEADER] == cause
        assert "Nats-Expected-Last-Subject-Sequence" not in (handed.headers or {})
    finally:
        await end(*running)
        await bus.close()
