"""One trace per question, from real processes to a real receiver of OTLP."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ops.nats_server import NatsServer
from shared import lifecycle, names
from shared.bus import Bus
from shared.traces.ids import root_of
from tests.fakes.model import FakeModel, Fault
from tests.fakes.otlp import FakeReceiver, Received
from tests.fakes.slack import APP_TOKEN, BOT_TOKEN, ROOM, FakeSlack
from tests.fakes.slack import Fault as SlackFault
from tests.running import ROOT, Running, answer_to, dataflow, question

pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")

SECRET = "key-that-nobody-logs"  # noqa: S105
ASKED_BY = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
DEADLINE_S = 40.0


@dataclass
class World:
    """All processes of an answer, which send their spans to one receiver."""

    folder: Path
    nats: NatsServer
    model: FakeModel
    receiver: FakeReceiver
    bus: Bus
    running: dict[str, Running]

    @property
    def env(self) -> dict[str, str]:
        return {
            "NATS_URL": self.nats.url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.receiver.url,
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-api-key={SECRET}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    async def dataflow(self, name: str, home: str = "flow", **env: str) -> None:
        env = {**self.env, **env}
        one = dataflow(self.folder / home, self.nats.url, self.model.base_url, **env)
        one.log = self.folder / f"{name}.log"
        self.running[name] = one
        await one.start().ready()

    async def other(self, command: str, **env: str) -> None:
        one = Running(
            command, log=self.folder / f"{command}.log",
            env={**self.env, "THREADWAX_HOME": str(self.folder / command), **env},
        )  # fmt: skip
        self.running[command] = one
        await one.start().ready()

    async def ask(self, user: str, text: str, message_id: str) -> bytes:
        headers = {"Traceparent": f"00-{ASKED_BY[0]}-{ASKED_BY[1]}-01", "Nats-Msg-Id": message_id}
        body = json.dumps({"user_id": user, "prompt": text}).encode()
        reply = await self.bus.client.request(
            names.GATEWAY_SUBJECT, body, timeout=DEADLINE_S, headers=headers
        )
        return reply.data

    def trace(self, prompt_id: str) -> list[Received]:
        """The spans of a question, in the order in which they began."""
        wanted = f"{root_of(prompt_id).trace:032x}"
        return sorted((s for s in self.receiver.spans if s.trace == wanted), key=lambda s: s.begun)

    async def until(self, prompt_id: str, *wanted: str) -> list[Received]:
        await self.receiver.until(
            lambda _: not Counter(wanted) - Counter(s.name for s in self.trace(prompt_id)),
            DEADLINE_S,
        )
        return self.trace(prompt_id)


@pytest.fixture
async def world(
    nats: NatsServer, tmp_path: Path, fake_model: FakeModel, bus: Bus
) -> AsyncIterator[World]:
    receiver = await FakeReceiver().start()
    made = World(tmp_path, nats, fake_model, receiver, bus, {})
    yield made
    for one in made.running.values():
        one.kill()
    await receiver.stop()


def undocumented(spans: list[Received]) -> set[str]:
    """Names of spans and attributes that docs/traces.md does not list."""
    page = (ROOT / "docs" / "traces.md").read_text()
    table = page.partition("<!-- spans -->")[2].partition("<!-- end -->")
    rows = dict(re.findall(r"(?m)^\| `([^`]+)` \|(.*)$", table[0]))
    everywhere = table[2].partition("\n\n- ")[0]
    found = set()
    for span in spans:
        name = re.sub("^chat .*", "chat MODEL", span.name)
        for attribute in ("", *span.attributes):
            if name not in rows or f"`{attribute}`" not in f"`` {rows[name]} {everywhere}":
                found.add(f"{name} {attribute}")
    return found


def one(spans: list[Received], name: str) -> Received:
    (found,) = [span for span in spans if span.name == name]
    return found


async def test_the_whole_way_of_a_question_is_one_trace(world: World) -> None:
    """Gateway, dataflow and recorder; the model refuses the first call, and the second waits."""
    await asyncio.gather(world.dataflow("flow"), world.other("gateway"), world.other("recorder"))
    world.model.faults.append(Fault(status=500))
    answer = await world.ask("ada-lovelace", "what is xyzzy?", "m1")
    assert b"xyzzy" in answer
    stored = await world.bus.js.get_msg(names.PROMPTS, 1)
    prompt_id = str(json.loads(stored.data or b"")["id"])
    spans = await world.until(prompt_id, "record", "show", "post", "answer", "chat fake")
    tree = {span.id: span for span in spans}
    shape = [(s.service, s.name, tree[s.parent].name if s.parent else "") for s in spans]
    gateway, flow, recorder = (f"threadwax-{x}" for x in ("gateway", "dataflow", "recorder"))
    assert sorted(shape) == sorted([
        (gateway, "question", ""),
        (gateway, "send PROMPTS", "question"),
        (flow, "receive PROMPTS", "question"),
        (flow, "wait for turn", "question"),
        (flow, "answer", "question"),
        (flow, "chat fake", "answer"),
        (flow, "wait to retry", "answer"),
        (flow, "chat fake", "answer"),
        (flow, "send REPLIES", "answer"),
        (gateway, "show", "send REPLIES"),
        (gateway, "post", "show"),
        (recorder, "record", "question"),
    ])  # fmt: skip

    root = one(spans, "question")
    assert (root.id, root.kind) == (f"{root_of(prompt_id).span:016x}", "server")
    assert root.links == (ASKED_BY,)
    refused, answered = (s for s in spans if s.name == "chat fake")
    assert (refused.failed, refused.attributes["error.type"]) == (True, "error")
    assert not answered.failed
    assert answered.kind == "client"
    assert answered.attributes.items() >= {
        "gen_ai.operation.name": "chat", "gen_ai.request.model": "fake",
        "gen_ai.response.finish_reasons": ["stop"], "server.address": "127.0.0.1",
        "server.port": world.model.port,
        "gen_ai.usage.output_tokens": len(answer) // 4 + 1,
    }.items()  # fmt: skip
    assert answered.attributes["gen_ai.usage.input_tokens"] > 0
    assert one(spans, "answer").attributes["threadwax.outcome"] == "answered"

    steps = [one(spans, name) for name in ("send PROMPTS", "receive PROMPTS", "wait for turn")]
    steps += [refused, one(spans, "wait to retry"), answered]
    steps += [one(spans, name) for name in ("send REPLIES", "show", "post")]
    assert [s.begun for s in steps] == sorted(s.begun for s in steps)
    for span in spans:
        assert span.begun <= span.ended
        assert span.begun >= tree[span.parent].begun if span.parent else True
    for inner in (refused, answered, one(spans, "send REPLIES")):
        assert inner.ended <= one(spans, "answer").ended

    assert not undocumented(world.receiver.spans)
    journaled = await world.bus.js.get_last_msg(names.REPLIES, f"replies.gateway.*.{prompt_id}")
    sent = one(spans, "send REPLIES")
    assert (journaled.headers or {})["traceparent"] == f"00-{sent.trace}-{sent.id}-01"
    for hidden in (b"xyzzy", b"ada", prompt_id.encode(), SECRET.encode(), b"answer 2 to"):
        assert not any(hidden in body for body in world.receiver.bodies), hidden
    assert all(headers["x-api-key"] == SECRET for headers in world.receiver.headers)
    for running in world.running.values():
        log = running.log.read_text()
        assert SECRET not in log
        if running is not world.running["recorder"]:
            assert f'"trace_id":"{root.trace}"' in log


async def test_whoever_takes_over_continues_the_trace(world: World) -> None:
    """The first process is killed while the model answers; what it had answered stays answered."""
    await world.dataflow("first")
    await answer_to(world.bus, question("ada", 1, "hello"))
    await world.until("ada-1", "answer")
    world.model.may_finish = asyncio.Event()
    await world.bus.publish(question("ada", 2, "and now?"))
    await world.until("ada-2", "receive PROMPTS")
    async with asyncio.timeout(DEADLINE_S):
        while len(world.model.requests) < 2:
            await asyncio.sleep(0.02)
    world.running["first"].kill()
    world.model.may_finish.set()
    await world.dataflow("second")
    reply = await world.bus.reply_when_stored("test:ada", "ada-2", timeout_s=DEADLINE_S)
    assert reply is not None
    spans = await world.until("ada-2", "answer", "send REPLIES")

    first, *_, last = spans
    assert first.name == "receive PROMPTS"
    assert last.instance != first.instance
    assert {s.parent for s in spans if s.name in {"receive PROMPTS", "answer"}} == {
        f"{root_of('ada-2').span:016x}"
    }
    answer = one(spans, "answer")
    assert answer.instance == last.instance
    again = [s for s in spans if s.name == "receive PROMPTS" and s.instance == answer.instance]
    if again:  # otherwise its conversation had been stored
        assert again[0].attributes["threadwax.replayed"] is True
    assert answer.attributes["threadwax.resumed"] is not bool(again)
    assert one(spans, "send REPLIES").parent == answer.id

    await answer_to(world.bus, question("ada", 3, "bye"))
    await world.until("ada-3", "answer")
    names_of_first = Counter(span.name for span in world.trace("ada-1"))
    assert names_of_first["answer"] == names_of_first["send REPLIES"] == 1


async def test_a_rate_limit_is_a_wait_between_two_posts(world: World) -> None:
    """The platform asks the adapter to come again later; then the answer is shown."""
    slack = await FakeSlack().start()
    try:
        await asyncio.gather(
            world.dataflow("flow"),
            world.other(
                "slack", SLACK_API_URL=slack.url, SLACK_BOT_TOKEN=BOT_TOKEN,
                SLACK_APP_TOKEN=APP_TOKEN, SLACK_STREAMING="off",
            ),
        )  # fmt: skip
        slack.faults["chat.postMessage"].append(SlackFault("limit", retry_after_s=1))
        ts = slack.mention("what is xyzzy?")
        await slack.until(lambda: bool(slack.thread(ROOM, ts)), seconds=DEADLINE_S)
        spans = await world.receiver.until(lambda spans: any(s.name == "show" for s in spans))
        spans = sorted(spans, key=lambda span: span.begun)
        assert len({span.trace for span in spans}) == 1
        shown = one(spans, "show")
        within = [(s.name, s.failed) for s in spans if s.parent == shown.id]
        assert within == [("post", True), ("wait for the platform", False), ("post", False)]
        assert shown.parent == one(spans, "send REPLIES").id
        assert not shown.failed
        assert not undocumented(spans)
    finally:
        await slack.stop()


async def test_a_receiver_that_refuses_or_hangs_delays_nothing(world: World) -> None:
    """One log line when it refuses, one when it takes spans again; a stop does not wait for it."""
    world.receiver.status = 401
    await world.dataflow("flow")
    log = world.running["flow"].log
    for number in range(3):
        await answer_to(world.bus, question("ada", number, "hello"))
        refused = len(world.receiver.headers)
        async with asyncio.timeout(DEADLINE_S):
            while len(world.receiver.headers) == refused:
                await asyncio.sleep(0.05)
    world.receiver.status = 200
    await answer_to(world.bus, question("ada", 3, "hello"))
    await world.until("ada-3", "answer")
    async with asyncio.timeout(DEADLINE_S):
        while "traces are taken again" not in log.read_text():
            await asyncio.sleep(0.05)  # its thread has still to read the receiver's response
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    about = [line for line in lines if line["event"].startswith("traces")]
    assert [line["event"] for line in about] == ["traces are not taken", "traces are taken again"]
    assert about[0]["why"] == "HTTP status 401"
    assert about[1]["spans_lost_at_least"] > 0
    assert SECRET not in log.read_text()
    assert "hush" not in log.read_text()

    world.receiver.delay_s = 3600.0
    await answer_to(world.bus, question("ada", 4, "hello"))
    assert await world.running["flow"].stop() == 0


async def test_a_stop_sends_the_last_spans(world: World) -> None:
    """They would otherwise wait for the next batch."""
    await world.dataflow("flow", OTEL_BSP_SCHEDULE_DELAY="3600000")
    await answer_to(world.bus, question("ada", 1, "hello"))
    assert not world.receiver.spans
    assert await world.running["flow"].stop() == 0
    assert one(world.trace("ada-1"), "answer").attributes["threadwax.outcome"] == "answered"


async def test_a_share_of_the_questions_is_the_same_one_everywhere(world: World) -> None:
    """Adapter and dataflow each decide by the id, and record whole traces only."""
    share = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}
    await asyncio.gather(world.dataflow("flow", **share), world.other("gateway", **share))
    await asyncio.gather(*(world.ask(f"user{n}", "hello", f"m{n}") for n in range(24)))
    codes = await asyncio.gather(*(one.stop() for one in world.running.values()))
    assert codes == [0, 0]
    traces: dict[str, set[str]] = {}
    for span in world.receiver.spans:
        traces.setdefault(span.trace, set()).add(span.name)
    assert 2 <= len(traces) <= 22
    assert {frozenset(names) for names in traces.values()} == {
        frozenset({
            "question", "send PROMPTS", "receive PROMPTS", "wait for turn", "answer", "chat fake",
            "send REPLIES", "show", "post",
        })
    }  # fmt: skip


PROGRAM = """
import atexit, sys
{before}
atexit.register(lambda: print("imported:", [m for m in sys.modules if "telemetry" in m]))
sys.argv = ["threadwax", "dataflow"]
from ops.cli import main
main()
"""


def program(world: World, before: str = "", **env: str) -> Running:
    one = dataflow(
        world.folder / "flow", world.nats.url, world.model.base_url,
        "-c", PROGRAM.format(before=before), PYTHONPATH=str(ROOT), **env,
    )  # fmt: skip
    world.running["flow"] = one.start()
    return one


@pytest.mark.parametrize(
    "env", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}]
)
async def test_without_traces_nothing_of_opentelemetry_is_imported(
    world: World, env: dict[str, str]
) -> None:
    """Nor does a message have another header."""
    running = await program(world, **env).ready()
    await answer_to(world.bus, question("ada", 1, "hello"))
    assert await running.stop() == 0
    assert "imported: []" in running.log.read_text()
    journaled = await world.bus.js.get_last_msg(names.REPLIES, "replies.test.ada.ada-1")
    assert "traceparent" not in (journaled.headers or {})


@pytest.mark.parametrize(
    ("before", "env", "remedy"),
    [
        ("sys.modules['opentelemetry'] = None", {}, "make setup-traces"),
        ("", {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "4318"),
        ("", {"OTEL_TRACES_EXPORTER": "zipkin"}, "set it to otlp"),
        ("", {"OTEL_TRACES_SAMPLER_ARG": "2"}, "OTEL_TRACES_SAMPLER_ARG"),
        ("", {"OTEL_EXPORTER_OTLP_TIMEOUT": "abc"}, "OTEL_EXPORTER_OTLP_TIMEOUT must be"),
        ("", {"OTEL_EXPORTER_OTLP_HEADERS": SECRET}, "OTEL_EXPORTER_OTLP_HEADERS must be"),
        # The library's own check: a batch cannot be larger than the queue.
        ("", {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "9999"}, "max_export_batch_size must be"),
        ("", {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many"}, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"),
    ],
)
async def test_traces_that_cannot_be_made_end_the_start(
    world: World, before: str, env: dict[str, str], remedy: str
) -> None:
    """In one line that says what to do, without the headers."""
    running = program(world, before, **{**world.env, **env})
    assert running.process is not None
    code = await asyncio.wait_for(asyncio.to_thread(running.process.wait), DEADLINE_S)
    assert code in {lifecycle.CANNOT_START, 2}
    text = running.log.read_text()
    assert remedy in text
    assert "Traceback" not in text
    assert SECRET not in text
