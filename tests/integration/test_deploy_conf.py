"""deploy/nats-server.conf on a real server: each role can do its work, and nothing of another's.

The file is used as it stands but for one line, the store's folder; the addresses are set on the
command line. TLS is not run here: its block in the file is a comment.
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
from nats.aio.client import Client

from bots.platform import Part
from bots.relay import Relay
from dataflow.erasing.erasing import DONE
from ops.nats_server import binary
from ops.ports import HOST, free_port
from shared import names, quota
from shared.blobs import put_blob
from shared.bus import Bus, OverQuota
from shared.connection import Unavailable
from shared.group_commit import ALONE_AT_ONCE, BATCH_FROM, BATCH_ID
from shared.messages import Ask, Attachment, Forget, Partial, Place, Reply, Stop
from shared.receipts import Claim, Posted, Receipts
from shared.streams import ADAPTERS, sync_always
from shared.tasks import end
from tests.fakes.model import FakeModel
from tests.running import ROOT, Running, dataflow

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONF = ROOT / "deploy" / "nats-server.conf"
STORE = 'store_dir: "/data"'
ROLES = ("admin", "dataflow", "gateway", "terminal", "client", "ask", "slack", "discord")

ANSWER_S = 20.0
"""Generous: a loaded machine is no failure."""


@dataclass
class Server:
    """The production config, running."""

    port: int
    monitor_url: str
    passwords: dict[str, str]

    def url(self, role: str) -> str:
        return f"nats://{role}:{self.passwords[role]}@{HOST}:{self.port}"


@dataclass
class Pinboard:
    """A platform of one list."""

    name: str
    text_limit_chars: int = 2000
    parts_limit: int = 20
    posted: dict[str, str] = field(default_factory=dict)
    partials: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def text_length(self, text: str) -> int:
        return len(text)

    async def listen(self) -> None:
        return

    async def post(self, part: Part) -> str:
        assert part.key not in self.posted, "posted twice"
        self.posted[part.key] = part.text
        self.news.set()
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
                self.news.clear()
                await self.news.wait()
        return self.posted[key]


@dataclass
class Plain:
    """A client of a role that does what it likes, and what the server said to it."""

    client: Client
    violations: list[str]

    async def refused(self, subject: str) -> bool:
        """Whether the server refused what was just sent for this subject."""
        # The server's answer comes behind its refusal, which the client tells in a task of its own.
        await self.client.flush()
        await self.client.flush()
        # The client gives its words on in lower case.
        return any(subject.lower() in words.lower() for words in self.violations)


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


def threadwax(*command: str, said: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI", "NATS"))}
    return subprocess.run(
        [sys.executable, "-m", "ops", *command],
        env=kept | env, cwd=ROOT, input=said, capture_output=True, text=True, timeout=60,
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
    """The dataflow as a process of its own, as its role."""
    # Pieces and pauses, so that there are partials.
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
    """The gateway as a process of its own, as its role."""
    del flow
    home = tmp_path_factory.mktemp("gateway")
    env = {"NATS_URL": server.url("gateway"), "THREADWAX_HOME": str(home)}
    running = Running("gateway", log=home / "gateway.log", env=env).start()
    try:
        yield await running.ready()
    finally:
        running.kill()


async def plain(server: Server, role: str) -> Plain:
    violations: list[str] = []

    async def keep(error: Exception) -> None:
        violations.append(str(error))

    inbox = {"client": "_INBOX", "admin": "_INBOX_setup"}.get(role, f"_INBOX_{role}")
    client = await nats_py.connect(
        server.url(role), inbox_prefix=inbox.encode(), error_cb=keep, allow_reconnect=False
    )
    return Plain(client, violations)


@pytest_asyncio.fixture(loop_scope="module")
async def as_slack(server: Server) -> AsyncIterator[Plain]:
    slack = await plain(server, "slack")
    yield slack
    await slack.client.close()


async def silent(_: Exception) -> None:
    """For clients that are to be refused."""


def ask(platform: str, name: str, text: str = "hello") -> Ask:
    return Ask(
        id=f"{platform}-{name}-{secrets.token_hex(4)}",
        user=names.user_of(platform, name),
        place=Place(platform=platform, channel=name, audience="direct"),
        said_at=datetime.now(UTC),
        text=text,
    )


# --- what each role can do ------------------------------------------------------------------------


async def test_server_syncs_before_it_acknowledges(server: Server) -> None:
    """The production server is as durable as the embedded one."""
    assert await asyncio.to_thread(sync_always, server.monitor_url)


async def test_set_up_makes_the_consumers_and_changes_nothing_twice(
    server: Server, admin: Bus
) -> None:
    """The adapters' consumers are there before the adapters, and a second set-up leaves them."""
    made = [await admin.js.consumer_info(names.REPLIES, name) for name in ADAPTERS]
    assert [info.config.filter_subject for info in made] == [f"replies.{n}.>" for n in ADAPTERS]
    await asyncio.to_thread(set_up, server)
    again = [await admin.js.consumer_info(names.REPLIES, name) for name in ADAPTERS]
    assert [(i.created, i.config) for i in again] == [(i.created, i.config) for i in made]


@pytest.mark.parametrize("platform", ["slack", "discord"])
async def test_adapter_asks_and_posts_from_its_own_account(
    server: Server, flow: Running, admin: Bus, platform: str
) -> None:
    """A question of its account is answered by the dataflow, grows, and is posted and noted."""
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
            noted = f"pin-{key}\n".encode()  # the line end: nothing of the reply is left to do
            while (await receipts.get(f"{platform}.{key}")).value != noted:
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


async def test_adapter_stores_many_questions_with_few_syncs(server: Server, admin: Bus) -> None:
    """In batches, also from an account of its own."""
    before = await admin.last_sequence(names.PROMPTS)
    bus = await Bus.connect(server.url("slack"), name="slack")
    try:
        asks = [ask("slack", f"many{number}") for number in range(ALONE_AT_ONCE + BATCH_FROM)]
        assert all(await asyncio.gather(*map(bus.publish, asks)))
    finally:
        await bus.close()
    last = await admin.last_sequence(names.PROMPTS)
    assert last == before + len(asks)
    newest = await admin.js.get_msg(names.PROMPTS, last)
    assert BATCH_ID in (newest.headers or {})


async def test_adapter_finds_its_receipts_and_buries_what_it_cannot_show(
    server: Server, admin: Bus
) -> None:
    """What a relay does after a crash works from its account, too."""
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
        buried = await admin.js.get_last_msg(names.DLQ, "dlq.replies.slack.ada.crashed")
        assert buried.data == b"{"
    finally:
        await bus.close()


async def test_adapter_over_its_users_share_knows_what_it_stored(
    server: Server, admin: Bus
) -> None:
    """From an account of its own, too: a repeat is no new question, and a stop still passes."""
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


async def test_a_reply_nobody_can_read_is_buried_under_its_subject(
    server: Server, admin: Bus
) -> None:
    """Across accounts a delivered reply keeps the subject under which it was stored."""
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


async def test_gateway_answers_plain_clients(server: Server, gateway: Running) -> None:
    """A client's question is answered; asked again under its id, it is answered alike."""
    asker = await plain(server, "client")
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


async def test_there_are_no_guests(server: Server, gateway: Running, admin: Bus) -> None:
    """Without a password nobody connects, and what the admin puts there is not answered."""
    guest = Client()
    with pytest.raises(nats.errors.Error, match="Authorization"):
        await guest.connect(f"nats://{HOST}:{server.port}", allow_reconnect=False, error_cb=silent)
    assert guest._transport is not None
    guest._transport.close()  # type: ignore[no-untyped-call]  # which a refused client leaves open
    person = await plain(server, "admin")
    before = await admin.last_sequence(names.PROMPTS)
    body = json.dumps({"user_id": "ada", "prompt": "hello"}).encode()
    try:
        with pytest.raises(nats.errors.TimeoutError):
            await person.client.request(names.GUESTS_SUBJECT, body, timeout=1)
    finally:
        await person.client.close()
    assert await admin.last_sequence(names.PROMPTS) == before
    assert "nats refused" not in gateway.log.read_text()


async def test_gateway_is_discovered_by_the_admin(server: Server, gateway: Running) -> None:
    """The `nats` command finds the service."""
    person = await plain(server, "admin")
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


async def test_ask_command_has_a_role(server: Server, gateway: Running) -> None:
    """`threadwax ask` prints the answer."""
    del gateway
    done = await asyncio.to_thread(
        threadwax, "ask", "--user", "bea", "hello", NATS_URL=server.url("ask")
    )
    assert (done.returncode, done.stdout) == (0, "answer 2 to: hello\n"), done.stderr


async def test_chat_command_has_a_role(server: Server, flow: Running, tmp_path: Path) -> None:
    """`threadwax chat` makes its consumer and prints the answer."""
    del flow
    done = await asyncio.to_thread(
        threadwax, "chat", "--user", "cyd", said="hello\n",
        NATS_URL=server.url("terminal"), THREADWAX_HOME=str(tmp_path),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "answer 2 to: hello\n"), done.stderr
    assert "nats refused" not in done.stderr


# --- what no role can do --------------------------------------------------------------------------

NOT_TO_PUBLISH = {
    "slack": (
        "prompts.discord.ada",
        "prompts.gateway.ada",
        "prompts.slack.ada.more",
        "prompts",
        "prompts.guest",
        "replies.slack.ada.x",
        "replies.discord.ada.x",
        "partials.slack.ada.x",
        "dlq.replies.discord.ada.x",
        "$KV.RECEIPTS.discord.x.0",
        "blobs.discord.discord-1.0",
        "$JS.API.DIRECT.GET.BLOBS.blobs.slack.slack-1.0",
        "$JS.API.STREAM.INFO.KV_RECEIPTS",
        # reads: questions, others' replies, others' receipts
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
        # changes: acknowledgements, consumers, streams
        "$JS.ACK.REPLIES.discord.1.1.1.1.0",
        "$JS.API.CONSUMER.CREATE.REPLIES.slack.replies.slack.>",
        "$JS.API.CONSUMER.DURABLE.CREATE.REPLIES.slack",
        "$JS.API.CONSUMER.DELETE.REPLIES.slack",
        "$JS.API.STREAM.PURGE.KV_RECEIPTS",
        "$JS.API.STREAM.UPDATE.KV_RECEIPTS",
        "$JS.API.STREAM.DELETE.PROMPTS",
    ),
    "client": (
        "prompts.slack.ada",
        "prompts.guest",
        "prompts.gateway.ada",
        "replies.gateway.ada.x",
        "_INBOX.somebody",
        "$JS.API.INFO",
        "$JS.API.STREAM.MSG.GET.REPLIES",
        "$SRV.PING",
        "$SYS.REQ.SERVER.PING",
    ),
    "ask": ("prompts.guest", "prompts.gateway.ada", "replies.gateway.ada.x", "$JS.API.INFO"),
    "dataflow": (
        "prompts.slack.ada",
        "_INBOX.somebody",
        "$KV.RECEIPTS.slack.x.0",
        "$JS.API.CONSUMER.CREATE.REPLIES",
        "$JS.API.CONSUMER.DELETE.REPLIES.slack",
        "$JS.API.STREAM.PURGE.PROMPTS",
        "$JS.API.STREAM.DELETE.REPLIES",
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
        "$JS.API.CONSUMER.CREATE.REPLIES.discord.replies.terminal.>",
        "$JS.API.CONSUMER.CREATE.REPLIES.terminal-ada.replies.slack.>",
        "$JS.API.CONSUMER.CREATE.REPLIES",
        "$JS.API.CONSUMER.DURABLE.CREATE.REPLIES.terminal-ada",
        "$JS.API.CONSUMER.CREATE.PROMPTS",
        "$JS.API.STREAM.MSG.GET.REPLIES",
    ),
}

NOT_TO_HEAR = {
    "slack": (">", "p.>", "prompts.>", "replies.>", "partials.discord.>", "_INBOX_discord.>"),
    "client": (">", "prompts", "prompts.>", "replies.>", "partials.>", "_INBOX_gateway.>"),
    "ask": (">", "prompts", "_INBOX.>"),
    "dataflow": (">", "prompts.>", "_INBOX.>", "$JS.EVENT.>"),
    "gateway": (">", "prompts.>", "replies.slack.>", "_INBOX.>"),
    "terminal": (">", "prompts.>", "replies.>", "partials.slack.>", "_INBOX.>"),
}


@pytest.mark.parametrize("role", NOT_TO_PUBLISH)
async def test_role_cannot_publish_what_is_not_its_own(server: Server, role: str) -> None:
    """The server refuses each of these; what the role may publish, by the same means, it takes."""
    somebody = await plain(server, role)
    try:
        for subject in NOT_TO_PUBLISH[role]:
            await somebody.client.publish(subject, b"{}", reply=somebody.client.new_inbox())
            assert await somebody.refused(f'publish to "{subject}"'), subject
        allowed = {"client": "prompts", "ask": "prompts", "dataflow": "partials.test.ada.x"}
        subject = allowed.get(role, f"dlq.replies.{role}.ada.x")
        await somebody.client.publish(subject, b"{}")
        assert not await somebody.refused(f'"{subject}"')
    finally:
        await somebody.client.close()


@pytest.mark.parametrize("role", NOT_TO_HEAR)
async def test_role_cannot_hear_what_is_not_its_own(server: Server, role: str) -> None:
    """The server refuses each of these subscriptions, and takes that to the role's own inbox."""
    somebody = await plain(server, role)
    try:
        for subject in NOT_TO_HEAR[role]:
            await somebody.client.subscribe(subject)
            assert await somebody.refused(f'subscription to "{subject}"'), subject
        own = somebody.client.new_inbox()
        await somebody.client.subscribe(own)
        assert not await somebody.refused(f'"{own}"')
    finally:
        await somebody.client.close()


async def test_gateway_cannot_take_every_request(server: Server) -> None:
    """It hears requests in its queue group only, so no second gateway goes hungry."""
    somebody = await plain(server, "gateway")
    try:
        for subject in ("prompts", "prompts.guest"):
            await somebody.client.subscribe(subject)
            assert await somebody.refused(f'subscription to "{subject}"')
    finally:
        await somebody.client.close()


async def test_smuggled_acknowledgement_is_no_question(
    as_slack: Plain, server: Server, admin: Bus
) -> None:
    """An acknowledgement cannot be had as another platform's question.

    In one account it can, which shows that this test would see it.
    """
    person = await plain(server, "admin")
    data = ask("slack", "eve").wire()
    try:
        await person.client.publish("prompts.test.eve", data, reply="prompts.test.control")
        await until_stored(admin, "p.*.test.control")
        await as_slack.client.publish("prompts.slack.eve", data, reply="prompts.discord.victim")
        await until_stored(admin, "p.*.slack.eve")
        await settled(as_slack, admin)
    finally:
        await person.client.close()
    assert not await stored(admin, names.PROMPTS, "p.*.discord.victim")


async def test_smuggled_receipt_is_no_question(as_slack: Plain, server: Server, admin: Bus) -> None:
    """A well-formed question, kept as a receipt, cannot be delivered as another platform's."""
    forged = ask("discord", "victim2", "forged").wire()
    js = as_slack.client.jetstream()
    await js.publish("$KV.RECEIPTS.slack.forged.0", forged)
    get = "$JS.API.DIRECT.GET.KV_RECEIPTS.$KV.RECEIPTS.slack.forged.0"
    person = await plain(server, "admin")
    try:
        await person.client.publish(get, reply="prompts.test.control2")
        await until_stored(admin, "p.*.test.control2")
    finally:
        await person.client.close()
    await as_slack.client.publish(get, reply="prompts.discord.victim2")
    await settled(as_slack, admin)
    assert not await stored(admin, names.PROMPTS, "p.*.discord.victim2")


async def test_delivered_reply_is_no_question(as_slack: Plain, admin: Bus) -> None:
    """Replies that a pull asks for cannot be delivered to another platform's subject."""
    await admin.js.publish("replies.slack.eve.pulled", b"{}")
    pull = json.dumps({"batch": 10, "no_wait": True}).encode()
    await as_slack.client.publish(
        "$JS.API.CONSUMER.MSG.NEXT.REPLIES.slack", pull, reply="prompts.discord.victim3"
    )
    await settled(as_slack, admin)
    assert not await stored(admin, names.PROMPTS, "p.*.discord.victim3")


async def test_one_platforms_receipt_cannot_erase_the_others(as_slack: Plain, admin: Bus) -> None:
    """A rollup, which would leave one message in the whole bucket, is refused."""
    receipts = await admin.js.key_value("RECEIPTS")
    await receipts.put("discord.kept.0", b"ts")
    js = as_slack.client.jetstream()
    with pytest.raises(nats_py.js.errors.APIError, match="rollup"):
        await js.publish("$KV.RECEIPTS.slack.x.0", b"x", headers={"Nats-Rollup": "all"})
    assert (await receipts.get("discord.kept.0")).value == b"ts"


async def test_client_cannot_have_the_gateway_write_for_it(
    server: Server, gateway: Running, admin: Bus
) -> None:
    """A request whose reply subject is a stream's or another role's inbox gets no answer there."""
    asker, person = await plain(server, "client"), await plain(server, "admin")
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
async def test_wrong_password_is_refused(server: Server, role: str) -> None:
    """Neither a wrong password nor none, nor another role's, opens a role."""
    address = f"{HOST}:{server.port}"
    other = server.passwords["client" if role != "client" else "ask"]

    for who in (f"{role}:wrong@", f"{role}:{other}@", f"{role}:@", ""):
        client = Client()
        with pytest.raises(nats.errors.Error, match="Authorization"):
            await client.connect(f"nats://{who}{address}", allow_reconnect=False, error_cb=silent)
        assert client._transport is not None
        client._transport.close()  # type: ignore[no-untyped-call]  # which a refused client leaves open


async def test_bus_tells_that_the_password_is_refused(server: Server) -> None:
    """It says so instead of waiting for a server that would take it."""
    with pytest.raises(Unavailable, match="refuses the user and password"):
        await Bus.connect(f"nats://client:wrong@{HOST}:{server.port}", name="x", wait_s=None)


async def test_server_does_not_start_without_a_password(server: Server) -> None:
    """A variable that is not set is an error, not an empty password."""
    passwords = {variable(role): word for role, word in server.passwords.items()}
    for left_out in passwords:
        env = {name: word for name, word in passwords.items() if name != left_out}
        done = subprocess.run(
            [binary(), "-c", str(CONF), "-t"], env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
        assert left_out in done.stderr


async def test_adapters_accounts_are_alike() -> None:
    """What is proven of one adapter holds for the other: its account differs by the name alone."""

    def account(name: str) -> list[str]:
        lines = CONF.read_text().splitlines()
        start = lines.index(f"  {name} {{")
        block = lines[start : lines.index("  }", start)]
        return [line for line in block if not line.lstrip().startswith("#")]

    swapped = [line.replace("slack", "discord") for line in account("SLACK")[1:]]
    swapped = [line.replace("SLACK", "DISCORD") for line in swapped]
    assert swapped == account("DISCORD")[1:]


async def test_no_password_stands_in_the_config() -> None:
    """Every password is a variable, and the example names exactly these."""
    found = re.findall(r"password: ([^\s,]+)", CONF.read_text())
    assert sorted(found) == sorted(f"${variable(role)}" for role in ROLES)


# --- what the tests look at -----------------------------------------------------------------------


async def stored(bus: Bus, stream: str, subject: str) -> int:
    """How many messages a stream holds under a subject."""
    state = (await bus.js.stream_info(stream, subjects_filter=subject)).state
    return sum((state.subjects or {}).values())


async def until_stored(bus: Bus, subject: str) -> None:
    async with asyncio.timeout(ANSWER_S):
        while not await stored(bus, names.PROMPTS, subject):
            await asyncio.sleep(0.02)


async def settled(somebody: Plain, admin: Bus) -> None:
    """Returns when what somebody sent before has had its effect: a later question is stored."""
    later = ask("slack", "later")
    ack = await somebody.client.jetstream().publish(
        names.prompt_subject(later.user), later.wire(), headers={"Nats-Msg-Id": later.id}
    )
    assert (await admin.js.get_msg(names.PROMPTS, ack.seq)).data == later.wire()
