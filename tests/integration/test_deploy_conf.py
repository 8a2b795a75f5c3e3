"""deploy/nats-server.conf on a real server: each role can do its own work and nothing else.

Only one line is changed: the folder of the store. The addresses are set on the command line. TLS is
not tested, because its block in the file is commented out.
"""

import asyncio
import http.client
import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import nats as nats_py
import nats.errors
import pytest
import pytest_asyncio
from click.testing import CliRunner, Result
from nats.aio.client import Client
from nats.aio.msg import Msg

from bots.peers import Peers
from bots.platform import Part
from bots.relay import Relay
from dataflow.dead_letters import REPLAYED, SHOWN_AGAIN, DeadLetterService
from dataflow.erasing.erasing import DONE
from dataflow.recorder.server_metrics import ServerMetrics
from ops import cli
from ops.nats_server import binary
from ops.ports import HOST, free_port
from ops.rehearse.streams import log_of, newest_answered
from shared import metrics, names, quota, stream_leaders, user_names
from shared.blobs import put_blob
from shared.bus import Bus, OverQuota
from shared.connection import Unavailable
from shared.figures import Range
from shared.group_commit import BATCH_FROM, BATCH_ID, SINGLES_LIMIT
from shared.lease import Lease
from shared.messages import Ask, Attachment, Forget, Place, Stop
from shared.operators_figures import operators_figures
from shared.own_history import PIECE_BYTES, NotNow, own_history
from shared.partitioning import DEFAULT_PARTITIONS
from shared.receipts import Claim, Posted, Receipts
from shared.replies import Partial, Reply
from shared.streams import ADAPTERS, sync_always
from shared.tasks import end
from tests.fakes.model import FakeModel
from tests.integration.test_metrics import value
from tests.recorded import Rows, Streams, opened, record, until_recorded
from tests.running import ROOT, Running, dataflow

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONF = ROOT / "deploy" / "nats-server.conf"
STORE = 'store_dir: "/data"'
ROLES = (
    "admin", "dataflow", "recorder", "gateway", "terminal", "client", "ask", "slack", "discord",
    "web",
)  # fmt: skip

ANSWER_S = 20.0
"""Long enough for a busy machine."""


@dataclass
class Server:
    """A running server with the production config."""

    port: int
    monitor_url: str
    passwords: dict[str, str]

    def url(self, role: str) -> str:
        return f"nats://{role}:{self.passwords[role]}@{HOST}:{self.port}"


@dataclass
class Pinboard:
    """A platform that keeps posts in a dict."""

    name: str
    text_limit_chars: int = 2000
    parts_limit: int = 20
    posted: dict[str, str] = field(default_factory=dict)
    partials: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def text_length(self, text: str) -> int:
        return len(text)

    async def listen(self) -> None:
        return

    async def post(self, part: Part) -> str:
        assert part.key not in self.posted, "posted twice"
        self.posted[part.key] = part.text
        self.changed.set()
        return f"pin-{part.key}"

    async def find_posted(self, part: Part) -> str | None:
        return f"pin-{part.key}" if part.key in self.posted else None

    async def show_partial(self, partial: Partial) -> None:
        self.partials.append(partial.text)

    async def withdraw(self, reply: Reply) -> None:
        del reply

    async def close(self) -> None:
        return

    async def until_posted(self, key: str) -> str:
        async with asyncio.timeout(ANSWER_S):
            while key not in self.posted:
                self.changed.clear()
                await self.changed.wait()
        return self.posted[key]


@dataclass
class RoleClient:
    """A plain NATS client with a role's password, and the violations that the server reported."""

    client: Client
    violations: list[str]

    async def refused(self, subject: str) -> bool:
        """Whether the server just refused to publish or subscribe to this subject."""
        # The client reports a refusal in a task of its own, so a second round trip is needed.
        await self.client.flush()
        await self.client.flush()
        # The client converts the message to lower case.
        return any(subject.lower() in message.lower() for message in self.violations)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("nats")
    passwords = {role: f"p{secrets.token_hex(12)}" for role in ROLES}
    port, monitor = free_port(), free_port()
    text = CONF.read_text()
    assert text.count(STORE) == 1
    conf = folder / "nats-server.conf"
    conf.write_text(text.replace(STORE, f'store_dir: "{folder}/store"'))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [binary(), "-c", str(conf), "-a", HOST, "-p", str(port), "-m", str(monitor)],
            env={variable(role): password for role, password in passwords.items()},
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + ANSWER_S
        while not healthy(monitor):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        server = Server(port, f"http://{HOST}:{monitor}", passwords)
        set_up(server)
        yield server
    finally:
        process.terminate()
        process.wait()


def variable(role: str) -> str:
    return f"THREADWAX_NATS_{role.upper()}_PASSWORD"


def healthy(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def threadwax(*command: str, typed: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI", "NATS"))}
    return subprocess.run(
        [sys.executable, "-m", "ops", *command],
        env=kept | env, cwd=ROOT, input=typed, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def set_up(server: Server) -> None:
    done = threadwax("nats", "--setup-only", NATS_URL=server.url("admin"))
    assert done.returncode == 0, done.stderr


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin(server: Server) -> AsyncIterator[Bus]:
    bus = await Bus.connect(server.url("admin"), name="setup")
    yield bus
    await bus.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def flow(server: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """The dataflow as a process, with its own role."""
    # The model answers slowly and in pieces, so that there are partials.
    model = await FakeModel(piece_chars=8, pause_s=0.15).start()
    home = tmp_path_factory.mktemp("flow")
    running = dataflow(home, server.url("dataflow"), model.base_url).start()
    try:
        yield await running.ready()
    finally:
        running.kill()
        await model.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(
    server: Server, flow: Running, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Running]:
    """The gateway as a process, with its own role."""
    del flow
    home = tmp_path_factory.mktemp("gateway")
    env = {"NATS_URL": server.url("gateway"), "THREADWAX_HOME": str(home)}
    running = Running("gateway", log=home / "gateway.log", env=env).start()
    try:
        yield await running.ready()
    finally:
        running.kill()


async def connect_as(server: Server, role: str) -> RoleClient:
    violations: list[str] = []

    async def keep(error: Exception) -> None:
        violations.append(str(error))

    inbox = {"client": "_INBOX", "admin": "_INBOX_setup"}.get(role, f"_INBOX_{role}")
    client = await nats_py.connect(
        server.url(role), inbox_prefix=inbox.encode(), error_cb=keep, allow_reconnect=False
    )
    return RoleClient(client, violations)


@pytest_asyncio.fixture(loop_scope="module")
async def as_slack(server: Server) -> AsyncIterator[RoleClient]:
    slack = await connect_as(server, "slack")
    yield slack
    await slack.client.close()


async def ignore(_: Exception) -> None:
    """The error callback of clients whose refusal is expected."""


def ask(platform: str, name: str, text: str = "hello") -> Ask:
    return Ask(
        id=f"{platform}-{name}-{secrets.token_hex(4)}",
        user=user_names.user_of(platform, name),
        place=Place(platform=platform, channel=name, audience="direct"),
        said_at=datetime.now(UTC),
        text=text,
    )


def reply_to(question: Ask) -> Reply:
    return Reply(
        prompt_id=question.id, user=question.user, place=question.place, outcome="answered",
        text="forty-two", said_at=question.said_at, answered_at=question.said_at,
    )  # fmt: skip


# --- what each role can do ------------------------------------------------------------------------


async def test_the_server_syncs_before_it_acknowledges(server: Server) -> None:
    """The production server is as durable as the embedded one."""
    assert await asyncio.to_thread(sync_always, server.monitor_url)


async def test_the_set_up_creates_the_consumers_and_can_be_repeated(
    server: Server, admin: Bus
) -> None:
    """The adapters' consumers exist before the adapters; a second set-up does not change them."""
    made = [await admin.js.consumer_info(names.REPLIES, name) for name in ADAPTERS]
    assert [info.config.filter_subject for info in made] == [f"replies.{n}.>" for n in ADAPTERS]
    await asyncio.to_thread(set_up, server)
    again = [await admin.js.consumer_info(names.REPLIES, name) for name in ADAPTERS]
    assert [(i.created, i.config) for i in again] == [(i.created, i.config) for i in made]


@pytest.mark.parametrize("platform", ["slack", "discord", "web"])
async def test_an_adapter_asks_and_posts_from_its_own_account(
    server: Server, flow: Running, admin: Bus, platform: str
) -> None:
    """The dataflow answers; the adapter shows partials, posts the reply and records a receipt."""
    bus = await Bus.connect(server.url(platform), name=platform)
    board = Pinboard(platform)
    relay = Relay(
        bus,
        board,
        consumer=platform,
        subject=f"replies.{platform}.>",
        partials=f"partials.{platform}.>",
    )
    relaying = asyncio.create_task(relay.run())
    try:
        question = ask(platform, "ada")
        assert await bus.publish(question)
        key = f"{question.id}.0"
        assert await board.until_posted(key) == "answer 2 to: hello"
        assert board.partials
        async with asyncio.timeout(ANSWER_S):
            while (await admin.js.consumer_info(names.REPLIES, platform)).num_ack_pending:
                await asyncio.sleep(0.02)
            receipts = await admin.js.key_value("RECEIPTS")
            finished = f"pin-{key}\n".encode()  # the line end marks a finished reply
            while (await receipts.get(f"{platform}.{key}")).value != finished:
                await asyncio.sleep(0.02)
    finally:
        await end(relaying)
        await bus.close()
    assert "nats refused" not in flow.log.read_text()


async def test_a_person_is_forgotten_by_the_dataflow(
    server: Server, flow: Running, admin: Bus
) -> None:
    """An adapter asks for it; the dataflow's role erases; the person gets one message."""
    bus = await Bus.connect(server.url("slack"), name="slack")
    board = Pinboard("slack")
    relay = Relay(bus, board, consumer="slack", subject="replies.slack.>")
    relaying = asyncio.create_task(relay.run())
    try:
        question = ask("slack", "forgotten")
        await put_blob(bus, f"{question.id}-0", b"picture")
        file = Attachment(name="a.png", media_type="image/png", blob=f"{question.id}-0")
        await bus.publish(question.model_copy(update={"attachments": (file,)}))
        await board.until_posted(f"{question.id}.0")
        fields = question.model_dump(include={"user", "place", "address", "said_at"})
        await bus.publish(Forget(id="slack-forget", **fields))
        assert await board.until_posted("slack-forget.0") == DONE
        left = await admin.js.stream_info(names.BLOBS, subjects_filter=f"blobs.*.{question.id}-0.*")
        assert not left.state.subjects
        assert await admin.stored_reply(question.user, question.id) is None
        receipts = await admin.js.stream_info(
            names.RECEIPTS_STREAM, subjects_filter=f"$KV.RECEIPTS.slack.{question.id}.*"
        )
        assert not receipts.state.subjects
    finally:
        await end(relaying)
        await bus.close()
    assert "nats refused" not in flow.log.read_text()


async def test_an_adapter_gets_a_persons_own_data_from_the_recorder(
    server: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In several messages, across accounts; nobody can ask for people of another platform."""
    home = tmp_path_factory.mktemp("history")
    env = {"NATS_URL": server.url("recorder"), "THREADWAX_HOME": str(home)}
    engine = opened(f"sqlite:///{home / 'recorder' / 'threadwax.sqlite'}")
    said = Streams()
    for number in range(20):
        said.event(Ask, f"h{number}", "slack:T1-UHISTORY", text=f"{number} " + "a" * 90_000)
    record(engine, *said.messages)
    engine.dispose()
    recorder = Running("recorder", log=home / "log", env=env).start()
    bus = await Bus.connect(server.url("slack"), name="slack")
    other = await connect_as(server, "discord")
    try:
        await recorder.ready()
        async with asyncio.timeout(ANSWER_S):
            while True:
                try:
                    data = await own_history(bus, "slack:T1-UHISTORY")
                    break
                except NotNow:
                    await asyncio.sleep(0.1)
        assert len(data) > 3 * PIECE_BYTES
        assert data.decode().count("a" * 90_000) == 20
        assert await own_history(bus, "slack:T1-UNOBODY") == b""
        terminal = await Bus.connect(server.url("terminal"), name="terminal")
        assert await own_history(terminal, "terminal:ada") == b""
        with pytest.raises(NotNow):
            await own_history(terminal, "slack:T1-UHISTORY", within_s=2)
        await terminal.close()
        await other.client.publish("history.slack.T1-UHISTORY", b"", reply="_INBOX_discord.x")
        assert await other.refused("history.slack.T1-UHISTORY")
    finally:
        recorder.kill()
        await other.client.close()
        await bus.close()
    assert "refused" not in recorder.log.read_text()
    assert "permissions violation" not in recorder.log.read_text().lower()


async def test_only_the_web_page_gets_figures_of_the_recorder(server: Server) -> None:
    """In several messages, across accounts."""
    recorder, web = await connect_as(server, "recorder"), await connect_as(server, "web")
    try:

        async def answer(message: Msg) -> None:
            for number in range(3):
                await recorder.client.publish(message.reply, str(number).encode())

        await recorder.client.subscribe("figures.web", queue="recorder", cb=answer)
        await recorder.client.flush()
        inbox = web.client.new_inbox()
        arriving = await web.client.subscribe(inbox)
        await web.client.publish("figures.web", b"", reply=inbox)
        arrived = [(await arriving.next_msg(timeout=ANSWER_S)).data for _ in range(3)]
        assert arrived == [b"0", b"1", b"2"]
        assert not web.violations
        assert not recorder.violations
    finally:
        await recorder.client.close()
        await web.client.close()


async def test_the_recorder_reports_the_state_of_nats(server: Server, flow: Running) -> None:
    """Its role is allowed to ask for everything that the metrics need."""
    del flow
    bus = await Bus.connect(server.url("recorder"), name="recorder")
    try:
        report = ServerMetrics(bus)
        async with asyncio.timeout(ANSWER_S):
            while value(metrics.partition_readers, DEFAULT_PARTITIONS - 1) != 1:
                await report.report()
                await asyncio.sleep(0.1)
        assert value(metrics.stream_messages, names.PROMPTS) is not None
        assert value(metrics.replies_waiting, "slack") is not None
    finally:
        await bus.close()


async def test_the_web_page_has_dead_letters_replayed_by_the_dataflow(
    server: Server, admin: Bus
) -> None:
    """It may ask for that, and may not publish what a dead letter holds."""
    web = await connect_as(server, "web")
    service = await Bus.connect(server.url("dataflow"), name="dataflow")
    try:
        await DeadLetterService(service).start()
        letter = (await admin.js.publish("dlq.p.1.slack.ada", b'{"id": "slack-lost"}')).seq
        answer = await web.client.request("replay.web", str(letter).encode(), timeout=ANSWER_S)
        assert answer.data.decode() == REPLAYED.text
        stored = await admin.js.get_last_msg(names.PROMPTS, "p.*.slack.ada")
        assert stored.data == f'{{"id": "slack-lost-replay-{letter}"}}'.encode()
        unshown = reply_to(ask("slack", "ada"))
        subject = f"dlq.replies.slack.ada.{unshown.prompt_id}"
        letter = (await admin.js.publish(subject, unshown.wire())).seq
        answer = await web.client.request("replay.web", str(letter).encode(), timeout=ANSWER_S)
        assert answer.data.decode() == SHOWN_AGAIN.text
        assert not web.violations
    finally:
        await service.close()
        await web.client.close()


async def test_only_the_administrator_uses_the_command_for_dead_letters(
    server: Server, admin: Bus
) -> None:
    """Another role is told whom the command needs, and nothing is printed."""
    letter = (await admin.js.publish("dlq.p.1.slack.dora", b'{"id": "slack-dead"}')).seq

    async def dlq(role: str, *arguments: str) -> Result:
        return await asyncio.to_thread(
            CliRunner().invoke,
            cli.threadwax,
            ["dlq", *arguments],
            env={"NATS_URL": server.url(role)},
        )

    assert f"{letter}" in (await dlq("admin", "list")).stdout
    assert (await dlq("admin", "drop", f"{letter}", "--yes")).exit_code == 0
    for role in ("web", "dataflow", "gateway"):
        refused = await dlq(role, "list")
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert "administrator" in refused.stderr


async def test_an_adapter_stores_many_questions_in_batches(server: Server, admin: Bus) -> None:
    """Batches also work from an account of its own."""
    before = await admin.last_sequence(names.PROMPTS)
    bus = await Bus.connect(server.url("slack"), name="slack")
    try:
        asks = [ask("slack", f"many{number}") for number in range(SINGLES_LIMIT + BATCH_FROM)]
        assert all(await asyncio.gather(*map(bus.publish, asks)))
    finally:
        await bus.close()
    last = await admin.last_sequence(names.PROMPTS)
    assert last == before + len(asks)
    newest = await admin.js.get_msg(names.PROMPTS, last)
    assert BATCH_ID in (newest.headers or {})


async def test_an_adapter_finds_receipts_and_writes_dead_letters(
    server: Server, admin: Bus
) -> None:
    """An adapter's account permits everything that a relay does after a crash."""
    bus = await Bus.connect(server.url("slack"), name="slack")
    try:
        receipts = Receipts(bus, "slack")
        async with asyncio.timeout(ANSWER_S):
            assert await receipts.claim("crashed.0") is Claim.NEW
            assert await receipts.claim("crashed.0") is Claim.TRIED
            await receipts.record("crashed.0", "ts")
            assert await receipts.claim("crashed.0") == Posted("ts")
            await bus.dead_letter(
                subject="replies.slack.ada.crashed", data=b"{", reason="for the test"
            )
        letter = await admin.js.get_last_msg(names.DLQ, "dlq.replies.slack.ada.crashed")
        assert letter.data == b"{"
    finally:
        await bus.close()


async def test_an_adapter_hands_a_reply_over_to_another_of_its_kind(
    server: Server, admin: Bus
) -> None:
    """In its own account: a relay that got the reply, and one that has claimed it."""
    buses = [await Bus.connect(server.url("slack"), name="slack") for _ in range(2)]
    boards = [Pinboard("slack"), Pinboard("slack")]
    peers = [Peers(bus, "slack") for bus in buses]
    relays = [
        asyncio.create_task(Relay(
            bus, board, consumer="slack", subject="replies.slack.>", peers=one,
        ).run())
        for bus, board, one in zip(buses, boards, peers, strict=True)
    ]  # fmt: skip
    try:
        for one in peers:
            async with asyncio.timeout(ANSWER_S):
                await one.pulse.until_fresh()
                while not one.pulse.is_fresh:
                    await asyncio.sleep(0.02)
        for number in range(4):
            key = f"slack-handed-{number}.0"
            await Receipts(buses[0], "slack", owner=peers[0].me).claim(key)
            question = ask("slack", "handed")
            await admin.journal(Reply(
                prompt_id=f"slack-handed-{number}", user=question.user, place=question.place,
                outcome="answered", text="whole", said_at=question.said_at,
                answered_at=question.said_at,
            ))  # fmt: skip
            await boards[0].until_posted(key)
        assert not [key for key in boards[1].posted if key.startswith("slack-handed-")]
    finally:
        await end(*relays)
        for bus in buses:
            await bus.close()


async def test_a_lease_is_taken_and_freed_with_the_role_of_its_adapter(server: Server) -> None:
    """Within its account, which reaches no other lease."""
    buses = [await Bus.connect(server.url("discord"), name="discord") for _ in range(2)]
    try:
        first, second = (
            Lease(bus, "discord", place=place, position=lambda: 7)
            for bus, place in zip(buses, "ab", strict=True)
        )
        async with asyncio.timeout(ANSWER_S):
            assert await first.acquire() == 0
            waiting = asyncio.create_task(second.acquire())
            while not second.holder.process:
                await asyncio.sleep(0.02)
            assert not waiting.done()
            await first.release()
            assert await waiting == 7
    finally:
        for bus in buses:
            await bus.close()


async def test_an_adapter_recognizes_stored_events_of_a_user_over_quota(
    server: Server, admin: Bus
) -> None:
    """Also from an account of its own, a repeat is recognized, and a stop is still accepted."""
    bus = await Bus.connect(server.url("slack"), name="slack")
    try:
        asked = ask("slack", "greedy")
        assert await bus.publish(asked)
        assert bus._event_quotas.take(
            asked.user, quota.EVENT_QUOTA_BYTES - quota.EVENT_MIN_BYTES, time.monotonic()
        )
        before = await admin.last_sequence(names.PROMPTS)
        assert not await bus.publish(asked)
        with pytest.raises(OverQuota):
            await bus.publish(ask("slack", "greedy"))
        assert await admin.last_sequence(names.PROMPTS) == before
        stop = Stop(**ask("slack", "greedy").model_dump(exclude={"kind", "text"}))
        assert await bus.publish(stop)
    finally:
        await bus.close()


async def test_an_unreadable_reply_becomes_a_dead_letter_with_its_subject(
    server: Server, admin: Bus
) -> None:
    """A reply that is delivered across accounts keeps its original subject."""
    bus = await Bus.connect(server.url("discord"), name="discord")
    relay = Relay(bus, Pinboard("discord"), consumer="discord", subject="replies.discord.>")
    relaying = asyncio.create_task(relay.run())
    try:
        await admin.js.publish("replies.discord.ada.unreadable", b"no reply")
        async with asyncio.timeout(ANSWER_S):
            while not await stored(admin, names.DLQ, "dlq.replies.discord.ada.unreadable"):
                await asyncio.sleep(0.02)
    finally:
        await end(relaying)
        await bus.close()


async def test_the_gateway_answers_plain_clients(server: Server, gateway: Running) -> None:
    """A repeated request with the same message id gets the same answer."""
    asker = await connect_as(server, "client")
    body = json.dumps({"user_id": "ada", "prompt": "hello"}).encode()
    headers = {"Nats-Msg-Id": secrets.token_hex(8)}
    try:
        first = await asker.client.request("prompts", body, timeout=ANSWER_S, headers=headers)
        again = await asker.client.request("prompts", body, timeout=ANSWER_S, headers=headers)
    finally:
        await asker.client.close()
    assert first.data == again.data == b"answer 2 to: hello"
    assert not asker.violations
    assert "nats refused" not in gateway.log.read_text()


async def test_recorder_reads_every_stream_as_its_role(
    server: Server, gateway: Running, admin: Bus, tmp_path: Path
) -> None:
    """Questions, answers and receipts; it is refused nothing, nor when it answers and ends."""
    del gateway
    client = await connect_as(server, "client")
    body = json.dumps({"user_id": "recorded", "prompt": "hello"}).encode()
    await client.client.request("prompts", body, timeout=60)
    await client.client.close()
    database = f"sqlite:///{tmp_path / 'own.sqlite'}"
    env = {"NATS_URL": server.url("recorder"), "THREADWAX_HOME": str(tmp_path)}
    running = Running("recorder", log=tmp_path / "log", env=env | {"DATABASE_URL": database})
    await running.start().ready()
    try:
        engine = opened(database)
        rows = await until_recorded(engine, lambda rows: bool(shown(rows)))
        engine.dispose()
        asked = {row["prompt_id"] for row in rows["questions"]}
        # Other tests on this server store replies to questions that nobody asked.
        assert {one for one in shown(rows) if "-recorded-" in one} <= asked
        await admin.dead_letter(subject="p.1.slack.ada", data=b"{}", reason="not an event")
        found = await operators_figures(admin, Range(hours=24))
        assert found.server.streams
        assert found.server.adapters
        assert found.server.dead_letters
    finally:
        await running.stop()
    assert "nats refused" not in running.log.read_text()


async def test_a_rehearsal_reads_the_streams_as_the_recorder(
    server: Server, gateway: Running
) -> None:
    del gateway
    client = await connect_as(server, "client")
    body = json.dumps({"user_id": "rehearsed", "prompt": "hello"}).encode()
    await client.client.request("prompts", body, timeout=60)
    await client.client.close()
    reader = await Bus.connect(server.url("recorder"), name="recorder")
    try:
        async with asyncio.timeout(ANSWER_S):
            chosen = await newest_answered(reader, 1000, ())
            (mine,) = [one for one in chosen if one.user == "gateway:rehearsed"]
            log = await log_of(reader, mine.user)
    finally:
        await reader.close()
    assert len(log) == 2


def shown(rows: Rows) -> list[str]:
    return [row["prompt_id"] for row in rows["answers"] if row["shown_at"] is not None]


async def test_the_production_config_has_no_guests(
    server: Server, gateway: Running, admin: Bus
) -> None:
    """Nobody can connect without a password; requests on the guests' subject get no answer."""
    guest = Client()
    with pytest.raises(nats.errors.Error, match="Authorization"):
        await guest.connect(f"nats://{HOST}:{server.port}", allow_reconnect=False, error_cb=ignore)
    assert guest._transport is not None
    guest._transport.close()  # type: ignore[no-untyped-call]  # a refused client leaves it open
    person = await connect_as(server, "admin")
    before = await admin.last_sequence(names.PROMPTS)
    body = json.dumps({"user_id": "ada", "prompt": "hello"}).encode()
    try:
        with pytest.raises(nats.errors.TimeoutError):
            await person.client.request(names.GUESTS_SUBJECT, body, timeout=1)
    finally:
        await person.client.close()
    assert await admin.last_sequence(names.PROMPTS) == before
    assert "nats refused" not in gateway.log.read_text()


async def test_the_admin_can_discover_the_gateway(server: Server, gateway: Running) -> None:
    """The `nats` command finds the service."""
    person = await connect_as(server, "admin")
    inbox = "_INBOX.discovery"
    answers = await person.client.subscribe(inbox)
    try:
        for subject in ("$SRV.PING", "$SRV.STATS.threadwax-gateway"):
            await person.client.publish(subject, reply=inbox)
            answer = json.loads((await answers.next_msg(timeout=ANSWER_S)).data)
            assert answer["name"] == "threadwax-gateway"
    finally:
        await person.client.close()
    assert "nats refused" not in gateway.log.read_text()


async def test_the_doctor_of_the_admin_finds_the_gateway(server: Server, gateway: Running) -> None:
    examined = await asyncio.to_thread(threadwax, "doctor", NATS_URL=server.url("admin"))
    assert re.search(r"(?m)^ok +gateway +listens on `prompts`", examined.stdout), examined.stdout
    assert "nats refused" not in gateway.log.read_text()


async def test_the_ask_command_works_with_its_role(server: Server, gateway: Running) -> None:
    """`threadwax ask` prints the answer."""
    del gateway
    done = await asyncio.to_thread(
        threadwax, "ask", "--user", "bea", "hello", NATS_URL=server.url("ask")
    )
    assert (done.returncode, done.stdout) == (0, "answer 2 to: hello\n"), done.stderr


async def test_the_chat_command_works_with_its_role(
    server: Server, flow: Running, tmp_path: Path
) -> None:
    """`threadwax chat` creates its consumer and prints the answer."""
    del flow
    done = await asyncio.to_thread(
        threadwax, "chat", "--user", "cyd", typed="hello\n",
        NATS_URL=server.url("terminal"), THREADWAX_HOME=str(tmp_path),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "answer 2 to: hello\n"), done.stderr
    assert "nats refused" not in done.stderr


# --- what no role can do --------------------------------------------------------------------------

CANNOT_PUBLISH = {
    "discord": (
        "peers.slack.notes",
        "leases.slack",
        "$KV.LEASES.slack.holder",
        "$JS.API.DIRECT.GET.KV_LEASES.$KV.LEASES.slack.holder",
        "$JS.API.DIRECT.GET.KV_LEASES",
        "$JS.API.STREAM.MSG.GET.KV_LEASES",
        "$JS.API.STREAM.INFO.KV_LEASES",
        "$JS.API.STREAM.PURGE.KV_LEASES",
        "$JS.API.CONSUMER.CREATE.KV_LEASES",
    ),
    "slack": (
        "prompts.discord.ada",
        "prompts.gateway.ada",
        "prompts.slack.ada.more",
        "prompts.web.ada",
        "history.web.ada",
        "figures.web",
        "prompts",
        "prompts.guest",
        "replies.slack.ada.x",
        "replies.discord.ada.x",
        "partials.slack.ada.x",
        "dlq.replies.discord.ada.x",
        "$KV.RECEIPTS.discord.x.0",
        "peers.discord.notes",
        "leases.discord",
        "$KV.LEASES.discord.holder",
        "$JS.API.DIRECT.GET.KV_LEASES.$KV.LEASES.discord.holder",
        "blobs.discord.discord-1.0",
        "$JS.API.DIRECT.GET.BLOBS.blobs.slack.slack-1.0",
        "$JS.API.STREAM.INFO.KV_RECEIPTS",
        # reading questions, replies and receipts of others
        "$JS.API.STREAM.INFO.PROMPTS",
        "$JS.API.STREAM.MSG.GET.PROMPTS",
        "$JS.API.DIRECT.GET.PROMPTS",
        "$JS.API.CONSUMER.CREATE.PROMPTS",
        "$JS.API.CONSUMER.MSG.NEXT.PROMPTS.any",
        "$JS.API.STREAM.MSG.GET.REPLIES",
        "$JS.API.DIRECT.GET.REPLIES",
        "$JS.API.DIRECT.GET.REPLIES.replies.discord.ada.x",
        "$JS.API.CONSUMER.MSG.NEXT.REPLIES.discord",
        "$JS.API.CONSUMER.INFO.REPLIES.discord",
        "$JS.API.STREAM.MSG.GET.KV_RECEIPTS",
        "$JS.API.DIRECT.GET.KV_RECEIPTS",
        "$JS.API.DIRECT.GET.KV_RECEIPTS.$KV.RECEIPTS.discord.x.0",
        # changing acknowledgements, consumers and streams
        "$JS.ACK.REPLIES.discord.1.1.1.1.0",
        "$JS.API.CONSUMER.CREATE.REPLIES.slack.replies.slack.>",
        "$JS.API.CONSUMER.DURABLE.CREATE.REPLIES.slack",
        "$JS.API.CONSUMER.DELETE.REPLIES.slack",
        "$JS.API.STREAM.PURGE.KV_RECEIPTS",
        "$JS.API.STREAM.UPDATE.KV_RECEIPTS",
        "$JS.API.STREAM.DELETE.PROMPTS",
    ),
    "web": (
        # asking as somebody of another platform
        "prompts.slack.ada",
        "prompts.discord.ada",
        "prompts.terminal.ada",
        "prompts",
        # what is recorded of people of another platform
        "history.slack.T1-U1",
        "history.discord.1",
        "history.terminal.ada",
        # replies: writing its own, reading and acknowledging those of others
        "replies.web.ada.x",
        "partials.web.ada.x",
        "$JS.API.CONSUMER.MSG.NEXT.REPLIES.slack",
        "$JS.API.CONSUMER.CREATE.REPLIES.web.replies.slack.>",
        "$JS.API.CONSUMER.CREATE.REPLIES",
        "$JS.API.CONSUMER.DELETE.REPLIES.web",
        "$JS.API.STREAM.MSG.GET.REPLIES",
        "$JS.API.DIRECT.GET.REPLIES",
        "$JS.API.DIRECT.GET.REPLIES.replies.web.ada.x",
        "$JS.ACK.REPLIES.slack.1.1.1.1.0",
        "$JS.API.STREAM.MSG.GET.PROMPTS",
        "$KV.RECEIPTS.slack.x.0",
        "blobs.slack.slack-1.0",
        "$JS.API.DIRECT.GET.BLOBS.blobs.web.web-1.0",
        "dlq.replies.slack.ada.x",
    ),
    "client": (
        "prompts.slack.ada",
        "prompts.guest",
        "prompts.gateway.ada",
        "history.web.ada",
        "figures.web",
        "replies.gateway.ada.x",
        "_INBOX.somebody",
        "$JS.API.INFO",
        "$JS.API.STREAM.MSG.GET.REPLIES",
        "$SRV.PING",
        "$SYS.REQ.SERVER.PING",
    ),
    "ask": ("prompts.guest", "prompts.gateway.ada", "replies.gateway.ada.x", "$JS.API.INFO"),
    "dataflow": (
        "prompts",
        "prompts.guest",
        "_INBOX.somebody",
        "$KV.RECEIPTS.slack.x.0",
        "$JS.API.CONSUMER.CREATE.REPLIES",
        "$JS.API.CONSUMER.DELETE.REPLIES.slack",
        "$JS.API.STREAM.PURGE.PROMPTS",
        "$JS.API.STREAM.DELETE.REPLIES",
    ),
    "recorder": (
        "prompts.slack.ada",
        "replies.slack.ada.x",
        "partials.slack.ada.x",
        "dlq.p.1.slack.ada",
        "_INBOX.somebody",
        "$KV.RECEIPTS.slack.x.0",
        "$JS.ACK.REPLIES.slack.1.1.1.1.0",
        "$JS.API.CONSUMER.CREATE.REPLIES.slack.replies.>",
        "$JS.API.CONSUMER.DURABLE.CREATE.REPLIES.slack",
        "$JS.API.CONSUMER.DELETE.REPLIES.slack",
        "$JS.API.CONSUMER.MSG.NEXT.REPLIES.discord",
        "$JS.API.CONSUMER.MSG.NEXT.REPLIES.web",
        "$JS.API.CONSUMER.DELETE.REPLIES.web",
        "$JS.API.STREAM.PURGE.PROMPTS",
        "$JS.API.STREAM.DELETE.REPLIES",
        "$JS.API.STREAM.MSG.DELETE.PROMPTS",
    ),
    "gateway": (
        "prompts.slack.ada",
        "prompts.guest",
        "replies.gateway.ada.x",
        "_INBOX_dataflow.x",
        "_INBOX_setup.x",
        "$KV.RECEIPTS.slack.x.0",
        "$JS.API.CONSUMER.MSG.NEXT.REPLIES.slack",
        "$JS.API.CONSUMER.CREATE.REPLIES.gateway.replies.>",
        "$JS.API.DIRECT.GET.REPLIES.replies.slack.ada.x",
    ),
    "terminal": (
        "prompts.slack.ada",
        "prompts.guest",
        "replies.terminal.ada.x",
        "$KV.RECEIPTS.slack.x.0",
        "$JS.ACK.REPLIES.slack.1.1.1.1.0",
        "$JS.API.CONSUMER.MSG.NEXT.REPLIES.slack",
        "$JS.API.CONSUMER.MSG.NEXT.REPLIES.gateway",
        "$JS.API.CONSUMER.MSG.NEXT.REPLIES.web",
        "$JS.ACK.REPLIES.web.1.1.1.1.0",
        "history.web.ada",
        "figures.web",
        "$JS.API.CONSUMER.CREATE.REPLIES.web.replies.terminal.>",
        "$JS.API.CONSUMER.CREATE.REPLIES.discord.replies.terminal.>",
        "$JS.API.CONSUMER.CREATE.REPLIES.terminal-ada.replies.slack.>",
        "$JS.API.CONSUMER.CREATE.REPLIES",
        "$JS.API.CONSUMER.DURABLE.CREATE.REPLIES.terminal-ada",
        "$JS.API.CONSUMER.CREATE.PROMPTS",
        "$JS.API.STREAM.MSG.GET.REPLIES",
    ),
}

CANNOT_SUBSCRIBE = {
    "slack": (
        ">",
        "p.>",
        "prompts.>",
        "replies.>",
        "partials.discord.>",
        "_INBOX_discord.>",
        "peers.discord.>",
        "leases.discord",
    ),
    "discord": ("peers.>", "peers.slack.>", "leases.>", "$KV.LEASES.>"),
    "web": (
        ">",
        "p.>",
        "prompts.>",
        "replies.>",
        "partials.slack.>",
        "_INBOX_slack.>",
        "figures.>",
    ),
    "client": (">", "prompts", "prompts.>", "replies.>", "partials.>", "_INBOX_gateway.>"),
    "ask": (">", "prompts", "_INBOX.>"),
    "dataflow": (">", "prompts.>", "_INBOX.>", "$JS.EVENT.>"),
    "recorder": (">", "prompts.>", "replies.>", "partials.>", "_INBOX.>", "$JS.EVENT.>"),
    "gateway": (">", "prompts.>", "replies.slack.>", "_INBOX.>"),
    "terminal": (">", "prompts.>", "replies.>", "partials.slack.>", "_INBOX.>"),
}


@pytest.mark.parametrize("role", CANNOT_PUBLISH)
async def test_a_role_cannot_publish_on_other_subjects(server: Server, role: str) -> None:
    """The server refuses each of these subjects, and accepts one that the role may use."""
    somebody = await connect_as(server, role)
    try:
        for subject in CANNOT_PUBLISH[role]:
            await somebody.client.publish(subject, b"{}", reply=somebody.client.new_inbox())
            assert await somebody.refused(f'publish to "{subject}"'), subject
        allowed = {
            "client": "prompts", "ask": "prompts", "dataflow": "partials.test.ada.x",
            "recorder": "$JS.API.STREAM.INFO.PROMPTS",
        }  # fmt: skip
        subject = allowed.get(role, f"dlq.replies.{role}.ada.x")
        await somebody.client.publish(subject, b"{}")
        assert not await somebody.refused(f'"{subject}"')
    finally:
        await somebody.client.close()


@pytest.mark.parametrize("role", CANNOT_SUBSCRIBE)
async def test_a_role_cannot_subscribe_to_other_subjects(server: Server, role: str) -> None:
    """The server refuses each of these subscriptions, and accepts one to the role's own inbox."""
    somebody = await connect_as(server, role)
    try:
        for subject in CANNOT_SUBSCRIBE[role]:
            await somebody.client.subscribe(subject)
            assert await somebody.refused(f'subscription to "{subject}"'), subject
        own = somebody.client.new_inbox()
        await somebody.client.subscribe(own)
        assert not await somebody.refused(f'"{own}"')
    finally:
        await somebody.client.close()


async def test_the_gateway_can_subscribe_with_its_queue_group_only(server: Server) -> None:
    """Otherwise one gateway could take the requests of all others."""
    somebody = await connect_as(server, "gateway")
    try:
        for subject in ("prompts", "prompts.guest"):
            await somebody.client.subscribe(subject)
            assert await somebody.refused(f'subscription to "{subject}"')
    finally:
        await somebody.client.close()


async def test_an_acknowledgement_cannot_become_a_question(
    as_slack: RoleClient, server: Server, admin: Bus
) -> None:
    """The server's acknowledgement cannot be sent to another platform's subject of questions.

    Within one account it can, which shows that this test would notice.
    """
    person = await connect_as(server, "admin")
    data = ask("slack", "eve").wire()
    try:
        await person.client.publish("prompts.test.eve", data, reply="prompts.test.control")
        await until_stored(admin, "p.*.test.control")
        await as_slack.client.publish("prompts.slack.eve", data, reply="prompts.discord.victim")
        await until_stored(admin, "p.*.slack.eve")
        await until_processed(as_slack, admin)
    finally:
        await person.client.close()
    assert not await stored(admin, names.PROMPTS, "p.*.discord.victim")


async def test_a_receipt_cannot_become_a_question(
    as_slack: RoleClient, server: Server, admin: Bus
) -> None:
    """A question that is stored as a receipt cannot be delivered to another platform's subject."""
    forged = ask("discord", "victim2", "forged").wire()
    js = as_slack.client.jetstream()
    await js.publish("$KV.RECEIPTS.slack.forged.0", forged)
    get = "$JS.API.DIRECT.GET.KV_RECEIPTS.$KV.RECEIPTS.slack.forged.0"
    person = await connect_as(server, "admin")
    try:
        await person.client.publish(get, reply="prompts.test.control2")
        await until_stored(admin, "p.*.test.control2")
    finally:
        await person.client.close()
    await as_slack.client.publish(get, reply="prompts.discord.victim2")
    await until_processed(as_slack, admin)
    assert not await stored(admin, names.PROMPTS, "p.*.discord.victim2")


async def test_a_pulled_reply_cannot_become_a_question(as_slack: RoleClient, admin: Bus) -> None:
    """A pull cannot name another platform's subject for its replies."""
    await admin.js.publish("replies.slack.eve.pulled", b"{}")
    pull = json.dumps({"batch": 10, "no_wait": True}).encode()
    await as_slack.client.publish(
        "$JS.API.CONSUMER.MSG.NEXT.REPLIES.slack", pull, reply="prompts.discord.victim3"
    )
    await until_processed(as_slack, admin)
    assert not await stored(admin, names.PROMPTS, "p.*.discord.victim3")


async def test_one_platforms_receipt_cannot_erase_those_of_others(
    as_slack: RoleClient, admin: Bus
) -> None:
    """A rollup would delete all other messages of the bucket, so it is refused."""
    receipts = await admin.js.key_value("RECEIPTS")
    await receipts.put("discord.kept.0", b"ts")
    js = as_slack.client.jetstream()
    with pytest.raises(nats_py.js.errors.APIError, match="rollup"):
        await js.publish("$KV.RECEIPTS.slack.x.0", b"x", headers={"Nats-Rollup": "all"})
    assert (await receipts.get("discord.kept.0")).value == b"ts"


async def test_a_client_cannot_make_the_gateway_publish_elsewhere(
    server: Server, gateway: Running, admin: Bus
) -> None:
    """No answer goes to a reply subject of a stream or in another role's inbox."""
    asker, person = await connect_as(server, "client"), await connect_as(server, "admin")
    heard = await person.client.subscribe("_INBOX_dataflow.victim")
    await person.client.flush()
    body = json.dumps({"user_id": "eve", "prompt": "hello"}).encode()
    before = await stored(admin, names.DLQ, "dlq.prompts")
    try:
        await asker.client.publish("prompts", body, reply="prompts.slack.victim4")
        async with asyncio.timeout(ANSWER_S):
            while await stored(admin, names.DLQ, "dlq.prompts") == before:
                await asyncio.sleep(0.02)
        await asker.client.publish("prompts", body, reply="_INBOX_dataflow.victim")
        async with asyncio.timeout(ANSWER_S):
            while "nats refused" not in gateway.log.read_text():
                await asyncio.sleep(0.02)
        with pytest.raises(nats.errors.TimeoutError):
            await heard.next_msg(timeout=0.2)
    finally:
        await asker.client.close()
        await person.client.close()
    assert not await stored(admin, names.PROMPTS, "p.*.slack.victim4")


@pytest.mark.parametrize("role", ROLES)
async def test_a_wrong_password_is_refused(server: Server, role: str) -> None:
    """A wrong password, no password and another role's password are refused."""
    address = f"{HOST}:{server.port}"
    other = server.passwords["client" if role != "client" else "ask"]

    for who in (f"{role}:wrong@", f"{role}:{other}@", f"{role}:@", ""):
        client = Client()
        with pytest.raises(nats.errors.Error, match="Authorization"):
            await client.connect(f"nats://{who}{address}", allow_reconnect=False, error_cb=ignore)
        assert client._transport is not None
        client._transport.close()  # type: ignore[no-untyped-call]  # a refused client leaves it open


async def test_the_bus_reports_a_refused_password(server: Server) -> None:
    """The bus does not wait for a server that would accept the password."""
    with pytest.raises(Unavailable, match="refuses the user and password"):
        await Bus.connect(f"nats://client:wrong@{HOST}:{server.port}", name="x", wait_s=None)


async def test_the_server_does_not_start_without_a_password(server: Server) -> None:
    """An unset variable is an error, not an empty password."""
    passwords = {variable(role): password for role, password in server.passwords.items()}
    for left_out in passwords:
        env = {name: password for name, password in passwords.items() if name != left_out}
        done = subprocess.run(
            [binary(), "-c", str(CONF), "-t"], env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
        assert left_out in done.stderr


NOT_OF_ALL = ("figures.web", "replay.web", "peers.", "leases.discord", ".LEASES.discord.")
"""The operators' dashboard; what redundant adapters need; and the lease of those that run once."""


@pytest.mark.parametrize("name", ["DISCORD", "WEB"])
async def test_the_accounts_of_the_adapters_differ_by_name_only(name: str) -> None:
    """What is tested with one adapter holds for the others, apart from what only some need."""

    def account(name: str) -> list[str]:
        lines = CONF.read_text().splitlines()
        start = lines.index(f"  {name} {{")
        block = lines[start : lines.index("  }", start)]
        for_all = [line for line in block if not any(one in line for one in NOT_OF_ALL)]
        return [line for line in for_all if not line.lstrip().startswith("#")]

    swapped = [line.replace("slack", name.lower()) for line in account("SLACK")[1:]]
    swapped = [line.replace("SLACK", name) for line in swapped]
    assert swapped == account(name)[1:]


async def test_the_config_contains_no_password() -> None:
    """Every password is a variable, one per role."""
    found = re.findall(r"password: ([^\s,]+)", CONF.read_text())
    assert sorted(found) == sorted(f"${variable(role)}" for role in ROLES)


# --- helpers --------------------------------------------------------------------------------------


async def stored(bus: Bus, stream: str, subject: str) -> int:
    """How many messages a stream holds under a subject."""
    state = (await bus.js.stream_info(stream, subjects_filter=subject)).state
    return sum((state.subjects or {}).values())


async def until_stored(bus: Bus, subject: str) -> None:
    async with asyncio.timeout(ANSWER_S):
        while not await stored(bus, names.PROMPTS, subject):
            await asyncio.sleep(0.02)


async def until_processed(somebody: RoleClient, admin: Bus) -> None:
    """Returns once everything that somebody sent has been processed: a later question is stored."""
    later = ask("slack", "later")
    ack = await somebody.client.jetstream().publish(
        names.prompt_subject(later.user), later.wire(), headers={"Nats-Msg-Id": later.id}
    )
    assert (await admin.js.get_msg(names.PROMPTS, ack.seq)).data == later.wire()


async def test_a_client_that_says_nothing_any_more_is_dropped_after_some_seconds(
    server: Server,
) -> None:
    """Until then, requests that it alone would answer are lost: a lost host is like that."""
    reader, writer = await asyncio.open_connection(HOST, server.port)
    await reader.readline()
    login = json.dumps({"user": "gateway", "pass": server.passwords["gateway"], "verbose": False})
    writer.write(f"CONNECT {login}\r\nPING\r\n".encode())
    start = time.monotonic()
    async with asyncio.timeout(ANSWER_S):
        said = await reader.read()
    assert b"PONG" in said
    assert b"Stale Connection" in said
    assert time.monotonic() - start < 10
    writer.close()


async def test_a_leader_that_may_not_be_asked_is_no_trouble(
    server: Server, admin: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its silence says nothing. It is asked once, as the server logs each refusal."""
    del admin
    monkeypatch.setattr(stream_leaders, "AWAY_S", 0.5)
    bus = await Bus.connect(server.url("terminal"), name="terminal")
    monkeypatch.setattr(type(bus.client), "is_clustered", True)
    sent = bus.client.stats
    leaders = stream_leaders.StreamLeaders.of_adapter(bus, "slack", consumer="terminal")
    leaders._consumer = ""
    asking = asyncio.create_task(leaders.watch())
    async with asyncio.timeout(10):
        while not leaders.trouble:
            await asyncio.sleep(0.05)
        while leaders.trouble:
            await asyncio.sleep(0.05)
    out = sent["out_msgs"]
    await asyncio.sleep(2 * stream_leaders.ASK_AGAIN_S + stream_leaders.ANSWERS_WITHIN_S)
    assert not leaders.trouble
    assert sent["out_msgs"] == out
    await end(asking)
    await bus.close()
