"""What /metrics and /readyz of real processes say while something is wrong, and afterwards."""

import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from nats.aio.msg import Msg
from prometheus_client.parser import text_string_to_metric_families

from dataflow.journal_capacity import JournalCapacity
from dataflow.model.health import FAILED_FOR_S, ModelHealth
from dataflow.readiness import NO_PARTITION, NO_ROOM, NOT_WELL, readiness
from dataflow.recorder.server_metrics import ServerMetrics
from ops.nats import set_up_streams
from ops.nats_server import NatsServer
from ops.ports import free_port
from shared import interruption, metrics, names, pull, user_names
from shared.bus import Bus
from shared.connection import Unavailable
from shared.follow import Position, follow
from shared.partitioning import DEFAULT_PARTITIONS
from shared.publishing import StoreFull
from shared.stream_leaders import StreamLeaders
from shared.streams import stream_configs
from shared.tasks import end
from tests.fakes.model import FakeModel
from tests.integration.test_relay import reply
from tests.restricted_nats import restricted_nats
from tests.running import Running, answer_to, dataflow, question

DEADLINE_S = 60.0
PROMPTS_READER = f"stream {names.PROMPTS}"


@dataclass
class Flow:
    """A dataflow that serves its status."""

    running: Running
    port: int

    def page(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as got:
                return got.status, got.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    async def figures(self) -> dict[str, float]:
        """Each sample's value, by name; those of several labels are added up."""
        _, text = await asyncio.to_thread(self.page, "/metrics")
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
        return found

    async def until(self, path: str, wanted: Callable[[int, str], bool]) -> str:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                status, text = await asyncio.to_thread(self.page, path)
                if wanted(status, text):
                    return text
                await asyncio.sleep(0.05)


@pytest.fixture
async def flow(nats: NatsServer, tmp_path: Path, fake_model: FakeModel) -> AsyncIterator[Flow]:
    port = free_port()
    running = dataflow(
        tmp_path / "home", nats.url, fake_model.base_url, THREADWAX_HTTP_PORT=str(port)
    )
    await running.start().ready()
    yield Flow(running, port)
    running.kill()


async def test_every_step_of_an_answer_is_measured(
    flow: Flow, bus: Bus, fake_model: FakeModel
) -> None:
    """The oldest pending question has its age in people's time, also after an earlier answer."""
    await answer_to(bus, question("bob", 1, "hello"))
    assert (await flow.figures())["threadwax_oldest_pending_seconds"] == 0.0

    fake_model.may_finish = asyncio.Event()
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    old = question("ada", 1, "first").model_copy(update={"said_at": hour_ago})
    await bus.publish(old)
    await bus.publish(question("ada", 2, "second"))
    await bus.publish(question("eve", 1, "third"))
    async with asyncio.timeout(DEADLINE_S):
        while (figures := await flow.figures())["threadwax_pending"] < 3:
            await asyncio.sleep(0.05)
    assert 3600 <= figures["threadwax_oldest_pending_seconds"] < 3600 + DEADLINE_S
    assert figures["threadwax_in_flight"] == 2

    fake_model.may_finish.set()
    for user, number in (("ada", 1), ("ada", 2), ("eve", 1)):
        stored = await bus.reply_when_stored(
            user_names.user_of("test", user), f"{user}-{number}", timeout_s=DEADLINE_S
        )
        assert stored is not None
    async with asyncio.timeout(DEADLINE_S):
        while (figures := await flow.figures())["threadwax_pending"]:
            await asyncio.sleep(0.05)
    assert figures["threadwax_oldest_pending_seconds"] == 0.0
    for name in ("wait", "first_token", "model_call", "journal", "answer"):
        assert figures[f"threadwax_{name}_seconds_count"] == 4, name
    assert figures["threadwax_store_seconds_count"] == 4
    assert figures["threadwax_ready"] == 1
    assert figures["threadwax_disk_free_bytes"] > 0


async def test_a_dataflow_that_cannot_read_is_alive_and_not_ready(
    flow: Flow, nats: NatsServer, bus: Bus
) -> None:
    """Its text says which stream is missing and how to create it; then it is ready by itself."""
    await flow.until("/readyz", lambda status, text: (status, text) == (200, "ok\n"))
    await bus.js.delete_stream(names.PROMPTS)
    text = await flow.until("/readyz", lambda status, text: status == 503 and "has no" in text)
    assert names.PROMPTS in text
    assert "threadwax nats --setup-only" in text
    assert (await flow.figures())["threadwax_ready"] == 0
    assert await asyncio.to_thread(flow.page, "/healthz") == (200, "ok\n")
    await set_up_streams(nats.url)
    await flow.until("/readyz", lambda status, _: status == 200)


@dataclass
class Share:
    """What a process serves."""

    held: list[int]
    is_well: bool = True


async def test_the_dataflow_says_why_nobody_gets_an_answer(bus: Bus) -> None:
    now = [0.0]
    model, capacity = ModelHealth(lambda: now[0]), JournalCapacity(bus)
    share = Share([0, 1])
    ready = readiness(bus, StreamLeaders.of_dataflow(bus), model, capacity, share)
    assert ready() == (True, "ok")
    model.failed("unreachable")
    assert ready() == (True, "ok")
    now[0] += FAILED_FOR_S
    assert ready() == (False, "every call of the model has failed for 60 s: unreachable")
    assert value(metrics.model_failing_s) == FAILED_FOR_S
    capacity.nearly_full = True
    assert ready() == (False, NO_ROOM)
    share.held = []
    assert ready() == (False, NO_PARTITION)
    share.is_well = False
    assert ready() == (False, NOT_WELL)
    share.held, share.is_well = [0], True
    bus.interrupted[PROMPTS_READER] += 1
    assert ready()[1].startswith("NATS does not let this process read the stream PROMPTS")
    bus.missing[PROMPTS_READER] += 1
    assert ready()[1].startswith("NATS has no stream PROMPTS")
    bus.missing[PROMPTS_READER] -= 1
    bus.interrupted[PROMPTS_READER] -= 1
    capacity.nearly_full = False
    model.answered()
    assert ready() == (True, "ok")
    await bus.close()
    assert ready() == (False, "NATS does not answer")


async def test_a_reader_that_the_server_ignores_is_in_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nats-server does not answer what it denies, and does not end the connection either."""
    monkeypatch.setattr(pull, "HEARTBEAT_S", 0.5)
    monkeypatch.setattr(pull, "MISSED_AFTER_S", 1.5)
    monkeypatch.setattr(interruption, "SURE_AFTER_S", 2.0)
    events: list[Msg] = []

    async def take(message: Msg) -> None:
        events.append(message)

    async def until(wanted: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not wanted():
                await asyncio.sleep(0.02)

    denied = f"$JS.API.CONSUMER.MSG.NEXT.{names.PROMPTS}.>"
    with restricted_nats(tmp_path / "nats", denied) as server:
        await set_up_streams(server.operator_url)
        bus = await Bus.connect(server.url, name="test")
        reading = asyncio.create_task(
            follow(bus, names.PROMPTS, names.STORED_PROMPTS, after=Position(), deliver=take)
        )
        try:
            await until(lambda: bool(bus.trouble))
            assert bus.trouble.startswith("NATS does not let this process read the stream PROMPTS")
            await bus.publish(question("ada", 1, "hello"))
            # It stays in trouble while it tries again.
            async with asyncio.timeout(DEADLINE_S):
                for _ in range(40):
                    assert bus.trouble
                    await asyncio.sleep(0.1)
            assert not events
            await asyncio.to_thread(server.deny)
            await until(lambda: len(events) == 1 and not bus.trouble)
        finally:
            await end(reading)
            await bus.close()


async def test_an_adapter_that_cannot_store_questions_is_in_trouble(bus: Bus) -> None:
    assert bus.storing_trouble == ""
    prompts = next(one for one in stream_configs(1) if one.name == names.PROMPTS)
    await bus.js.update_stream(prompts.evolve(max_bytes=1))
    with pytest.raises(StoreFull):
        await bus.publish(question("ada", 1, "hello"))
    assert "does not store" in bus.storing_trouble
    await bus.js.update_stream(prompts)
    assert await bus.publish(question("ada", 2, "hello"))
    assert bus.storing_trouble == ""


async def test_an_adapter_is_well_as_soon_as_questions_could_be_stored_again(
    nats: NatsServer, bus: Bus
) -> None:
    """Nobody has to ask first."""
    asking = asyncio.create_task(StreamLeaders.of_adapter(bus, "slack", consumer="").watch())
    nats.kill()
    with pytest.raises(Unavailable):
        await bus.publish(question("ada", 1, "hello"))
    assert "does not store" in bus.storing_trouble
    await asyncio.to_thread(nats.start)
    async with asyncio.timeout(DEADLINE_S / 2):
        while bus.storing_trouble:
            await asyncio.sleep(0.05)
    assert await bus.last_sequence(names.PROMPTS) in {0, 1}  # the lost question may arrive late
    await end(asking)


def value(gauge: object, *labels: object) -> float | None:
    """The value of one series; None if it is absent."""
    for family in gauge.collect():  # type: ignore[attr-defined]
        for sample in family.samples:
            if tuple(sample.labels.values()) == tuple(str(label) for label in labels):
                return float(sample.value)
    return None


async def test_the_state_of_nats_is_reported_and_never_outdated(
    nats: NatsServer, bus: Bus, flow: Flow
) -> None:
    """Sizes, dead letters, unread questions and their readers, and replies that wait."""
    await bus.dead_letter(subject="p.1.test.ada", data=b"{", reason="for the test")
    await bus.journal(reply("ada", 1, "hello").model_copy(update={"user": "slack:ada"}))
    report = ServerMetrics(bus)

    async def reported(wanted: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                await report.report()
                if wanted():
                    return
                await asyncio.sleep(0.1)

    def readers() -> list[float | None]:
        return [value(metrics.partition_readers, n) for n in range(DEFAULT_PARTITIONS)]

    await reported(lambda: readers() == [1.0] * DEFAULT_PARTITIONS)
    assert value(metrics.stream_messages, names.DLQ) == 1
    assert (value(metrics.stream_bytes, names.DLQ) or 0) > 0
    assert value(metrics.replicas_behind, names.DLQ) == 0
    assert value(metrics.replies_waiting, "slack") == 1
    assert value(metrics.partition_lag, 0) == 0
    flow.running.kill()
    await reported(lambda: readers() == [0.0] * DEFAULT_PARTITIONS)
    assert value(metrics.partition_lag, 0) is None  # nobody knows, so it is not 0
    nats.stop()
    await report.report()
    assert value(metrics.stream_messages, names.DLQ) is None
    assert value(metrics.partition_readers, 0) is None


async def _count_of(step: Callable[[], Awaitable[object]], series: Callable[[], float]) -> float:
    before = series()
    await step()
    return series() - before


async def test_a_second_copy_of_an_event_counts_as_prevented(bus: Bus) -> None:
    asked = question("ada", 1, "hello")

    def prevented() -> float:
        return metrics.published_before.labels("test")._value.get()

    assert await _count_of(lambda: bus.publish(asked), prevented) == 0
    assert await _count_of(lambda: bus.publish(asked), prevented) == 1
