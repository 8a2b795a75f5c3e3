"""A cluster of three real nats-servers with deploy/nats-cluster.conf: set-up, TLS, and fail-over.

`tests/chaos/test_nats_cluster.py` kills its leaders under load.
"""

import asyncio
import re
import shutil
import signal
import ssl
import stat
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from nats.aio.msg import Msg
from nats.js import api

from bots.adapter import PUBLISH_PATIENCE_S
from bots.relay import Relay
from ops.doctor_replicas import findings_about, replicas
from ops.finding import CheckContext, Finding
from ops.nats import set_up_streams
from ops.nats_server import NatsServer
from ops.ports import HOST
from shared import follow as following
from shared import names, streams, user_names
from shared.bus import Bus
from shared.connection import Refused, Unavailable
from shared.follow import Position, follow
from shared.group_commit import BATCH_FROM, BATCH_ID
from shared.lease import LOST_AFTER_S, Lease
from shared.messages import Ask
from shared.receipts import Posted, Receipts
from shared.replies import Reply
from shared.settings import Settings
from shared.stream_leaders import AWAY_S, StreamLeaders
from shared.tasks import end
from tests.fakes.platform import FakePlatform
from tests.nats_cluster import ROLES, NatsCluster, nats_cluster, until_leader
from tests.running import ROOT, START_S, Running, direct

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    with (
        nats_cluster(tmp_path_factory.mktemp("nats") / "cluster") as cluster,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("SSL_CERT_FILE", str(cluster.authority))
        yield cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin(cluster: NatsCluster) -> AsyncIterator[Bus]:
    await set_up_streams(cluster.url("admin"))
    bus = await Bus.connect(cluster.url("admin"), name="setup")
    yield bus
    await bus.close()


def ask(platform: str, number: int) -> Ask:
    return Ask(
        id=f"{platform}-{number}", user=user_names.user_of(platform, "ada"),
        text=f"question {number}", place=direct("ada", platform), said_at=datetime.now(UTC),
    )  # fmt: skip


async def said_by_setup(tmp_path: Path, code: int, **env: str) -> str:
    log = tmp_path / "setup.log"
    setup = Running("nats", "--setup-only", log=log, env={"THREADWAX_HOME": str(tmp_path), **env})
    process = setup.start().process
    assert process is not None
    assert await asyncio.to_thread(process.wait, 60) == code, log.read_text()
    return log.read_text()


async def doctor_says(bus: Bus, wanted: int, url: str) -> list[Finding]:
    settings = Settings.model_validate({"THREADWAX_NATS_REPLICAS": wanted, "NATS_URL": url})
    return await replicas(CheckContext(settings, bus))


# --- setting up -----------------------------------------------------------------------------------


async def test_more_replicas_than_servers_are_refused_with_a_remedy(
    cluster: NatsCluster, admin: Bus, tmp_path: Path
) -> None:
    """Nothing is changed."""
    said = await said_by_setup(tmp_path, 1, **cluster.env("admin"), THREADWAX_NATS_REPLICAS="5")
    assert "on as many servers as THREADWAX_NATS_REPLICAS says" in said
    assert "lower THREADWAX_NATS_REPLICAS" in said
    for config in streams.stream_configs(1):
        assert (await admin.js.stream_info(config.name or "")).config.num_replicas == 1


async def test_a_server_without_cluster_is_refused(nats: NatsServer, tmp_path: Path) -> None:
    said = await said_by_setup(tmp_path, 1, NATS_URL=nats.url, THREADWAX_NATS_REPLICAS="3")
    assert "cluster with JetStream" in said
    bus = await Bus.connect(nats.url, name="test")
    (finding,) = await doctor_says(bus, 3, nats.url)
    assert (finding.grade, finding.what) == ("warn", "3 wanted, but the server is not in a cluster")
    assert await doctor_says(bus, 1, nats.url) == []
    await bus.close()


async def test_the_embedded_server_says_that_it_keeps_one_copy(tmp_path: Path) -> None:
    env = {"THREADWAX_HOME": str(tmp_path), "THREADWAX_NATS_REPLICAS": "3"}
    server = Running("nats", "--port", "0", log=tmp_path / "log", env=env).start()
    try:
        await server.ready()
        assert "THREADWAX_NATS_REPLICAS=3 has no effect" in server.log.read_text()
    finally:
        assert await server.stop() == 0


@pytest.mark.parametrize("wrong", ["2", "0", "many"])
async def test_other_numbers_are_refused(tmp_path: Path, wrong: str) -> None:
    said = await said_by_setup(
        tmp_path, 2, NATS_URL="nats://127.0.0.1:9", THREADWAX_NATS_REPLICAS=wrong
    )
    assert "THREADWAX_NATS_REPLICAS: it is not one of the possible values" in said
    assert "set it to one of 1, 3, 5" in said


async def test_replicas_grow_under_a_reader_and_never_shrink(
    cluster: NatsCluster, admin: Bus, tmp_path: Path
) -> None:
    """The reader gets everything once, and every stream, bucket and consumer is replicated."""
    (one,) = await doctor_says(admin, 1, cluster.url("admin"))
    assert (one.grade, one.subject) == ("warn", "replicas")
    before = await admin.js.stream_info(names.PROMPTS)
    read: list[str] = []

    async def take(message: Msg) -> None:
        read.append(message.data.decode())

    reading = asyncio.create_task(
        follow(admin, names.PROMPTS, "p.>", after=Position(), deliver=take)
    )
    for number in range(5):
        await admin.js.publish("prompts.test.ada", str(number).encode())
    found = await doctor_says(admin, 3, cluster.url("admin"))
    assert {(finding.grade, finding.subject) for finding in found} == {("warn", "replicas")}
    assert f"{names.PROMPTS}: 1 of 3" in [finding.what for finding in found]

    said = await said_by_setup(tmp_path, 0, **cluster.env("admin"), THREADWAX_NATS_REPLICAS="3")
    assert "on 3 servers each" in said
    for number in range(5, 10):
        await admin.until_done(
            lambda n=number: admin.js.publish(  # type: ignore[misc]
                "prompts.test.ada", str(n).encode(), headers={"Nats-Msg-Id": f"grow-{n}"}
            )
        )
    async with asyncio.timeout(30):
        while len(read) < 10:
            await asyncio.sleep(0.05)
    assert read == [str(number) for number in range(10)]
    await end(reading)
    await set_up_streams(cluster.url("admin"), replicas=1)
    async with asyncio.timeout(30):
        while [f.grade for f in await doctor_says(admin, 3, cluster.url("admin"))] != ["ok"]:
            await asyncio.sleep(0.1)
    assert (await admin.js.stream_info(names.PROMPTS)).created == before.created
    async with asyncio.timeout(30):
        for name in streams.ADAPTERS:
            while await copies_of(admin, name) != 3:
                await asyncio.sleep(0.1)


async def replicated(cluster: NatsCluster) -> None:
    """Returns once all streams are on all servers: until then, one of them may be indispensable."""
    await set_up_streams(cluster.url("admin"), replicas=3)
    bus = await Bus.connect(cluster.url("admin"), name="setup")
    async with asyncio.timeout(START_S):
        while [f.grade for f in await doctor_says(bus, 3, cluster.url("admin"))] != ["ok"]:
            await asyncio.sleep(0.1)
    await bus.close()


async def test_a_claim_is_not_answered_by_a_replica_that_lags(
    admin: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a part that was posted would be posted again where it cannot be looked for."""
    receipts = Receipts(admin, "slack")
    await receipts.claim("lags.0")
    current = admin.js.get_last_msg
    subject = f"{names.RECEIPTS_PREFIX}slack.lags.0"
    older = await current(names.RECEIPTS_STREAM, subject, direct=True)
    await receipts.record("lags.0", "posted", finished=True)
    answers = [older, older]

    async def get(*arguments: Any, **named: Any) -> api.RawStreamMsg:
        return answers.pop() if answers else await current(*arguments, **named)

    monkeypatch.setattr(admin.js, "get_last_msg", get)
    assert await receipts.claim("lags.0") == Posted("posted", finished=True)
    assert answers == []


async def test_whether_an_event_is_stored_can_be_asked_without_harm(cluster: NatsCluster) -> None:
    """As an edit of a message does. A stream with replicas must not stop over it."""
    await replicated(cluster)
    slack = await Bus.connect(cluster.url("slack"), name="slack")
    there, missing = ask("slack", 70), ask("slack", 71)
    assert await slack.publish(there, patience_s=PUBLISH_PATIENCE_S)
    for _ in range(3):
        assert await slack.is_stored(there.user, there.id)
        assert not await slack.is_stored(missing.user, missing.id)
    async with asyncio.timeout(10):
        assert await slack.publish(missing)
        assert not await slack.publish(missing)
    await slack.close()


async def test_an_erased_last_message_is_not_taken_for_a_replica_that_lags_for_long(
    cluster: NatsCluster, admin: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader whose last message is gone waits for the replica, then reads what comes next."""
    monkeypatch.setattr(following, "LOOK_AGAIN_S", 0.05)
    await replicated(cluster)
    ack = await admin.js.publish("prompts.test.erased", b"erased")
    message = await admin.js.get_msg(names.PROMPTS, ack.seq)
    created = (await admin.js.stream_info(names.PROMPTS)).created
    await admin.js.delete_msg(names.PROMPTS, ack.seq)
    opened: list[Position] = []
    read: list[bytes] = []

    async def take(message: Msg) -> None:
        read.append(message.data)

    reading = asyncio.create_task(
        follow(
            admin, names.PROMPTS, "p.*.test.erased", deliver=take,
            after=Position(ack.seq, created, message.time),
            opened=lambda position, _: opened.append(position),
        )
    )  # fmt: skip
    await asyncio.sleep(0.5)
    assert [position.sequence for position in opened] == [ack.seq]
    await admin.js.publish("prompts.test.erased", b"next")
    async with asyncio.timeout(START_S):
        while read != [b"next"]:
            await asyncio.sleep(0.05)
    await end(reading)


async def copies_of(bus: Bus, consumer: str) -> int:
    cluster = (await bus.js.consumer_info(names.REPLIES, consumer)).cluster
    return 1 + len((cluster and cluster.replicas) or ())


# --- TLS and roles --------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["slack", "dataflow"])
async def test_credentials_are_sent_over_trusted_tls_only(
    cluster: NatsCluster, admin: Bus, role: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert admin.connected
    with pytest.raises(Refused, match="refuses the user and password"):
        await Bus.connect(
            cluster.url(role).replace(cluster.passwords[role], "pwrong"), name=role,
            on_closed=lambda: None,
        )  # fmt: skip
    other = tmp_path / "other.pem"
    certified(tmp_path / "deploy", "elsewhere")
    shutil.copy(tmp_path / "deploy" / "tls" / "ca.pem", other)
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    with pytest.raises(Refused, match="its certificate is not trusted"):
        await Bus.connect(cluster.url(role), name=role, on_closed=lambda: None)


async def test_a_server_without_a_certificate_of_the_authority_is_not_admitted(
    cluster: NatsCluster,
) -> None:
    """The port of the routes ends the connection of whoever has none."""
    context = ssl.create_default_context(cafile=str(cluster.authority))
    node = cluster.nodes[0]
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # In TLS 1.3, a client learns with its first read that its certificate is missing.
    reader, writer = await asyncio.open_connection(HOST, node.route_port, ssl=context)
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"):
        await reader.read(1)
    writer.transport.abort()


async def test_roles_are_the_same_as_on_one_server(cluster: NatsCluster, admin: Bus) -> None:
    """The Slack adapter asks and posts with its role; what it must not do is refused by each."""
    slack = await Bus.connect(cluster.url("slack"), name="slack")
    platform = FakePlatform(name="slack")
    relay = Relay(slack, platform, consumer="slack", subject=names.replies_to_platform("slack"))
    relaying = asyncio.create_task(relay.run())
    question = ask("slack", 1)
    assert await slack.publish(question)
    await admin.journal(
        Reply(
            prompt_id=question.id, user=question.user, place=question.place, text="answer",
            outcome="answered", prompt_text=question.text, said_at=question.said_at,
            answered_at=datetime.now(UTC),
        )
    )  # fmt: skip
    await platform.until_posts(1)
    await end(relaying)
    await slack.close()
    for number, node in enumerate(cluster.nodes):
        violations: list[str] = []

        async def keep(error: Exception, kept: list[str] = violations) -> None:
            kept.append(str(error).lower())

        only = cluster.url("slack", first=number).split(",")[0]
        slack = await Bus.connect(only, name="slack", on_closed=lambda: None)
        slack.client._error_cb = keep
        for subject in ("prompts.discord.ada", "$JS.API.STREAM.DELETE.PROMPTS"):
            await slack.client.publish(subject)
            await slack.client.flush()
            await slack.client.flush()
            assert any(subject.lower() in text for text in violations), (node.name, subject)
        await slack.close()


# --- fail-over ------------------------------------------------------------------------------------


async def test_a_member_that_hangs_delays_publishing_and_reading_and_loses_nothing(
    cluster: NatsCluster, admin: Bus
) -> None:
    """The connection moves to another server; each event is stored once and read once, in order.

    The hanging server is the one that leads the stream and that we are connected to.
    """
    await replicated(cluster)
    leader = await until_leader(cluster, names.PROMPTS)
    index = [node.name for node in cluster.nodes].index(leader)
    only_leader = cluster.url("slack", first=index).split(",")[0]
    start = await admin.last_sequence(names.PROMPTS)
    read: list[str] = []

    async def take(message: Msg) -> None:
        read.append(Ask.model_validate_json(message.data).id)

    reading = asyncio.create_task(
        follow(
            admin, names.PROMPTS, "p.>", deliver=take,
            after=Position(start, (await admin.js.stream_info(names.PROMPTS)).created),
        )
    )  # fmt: skip
    slack = await Bus.connect(only_leader, name="slack")
    # From now on it may go to the others, too.
    await slack.close()
    slack = await Bus.connect(cluster.url("slack", first=index), name="slack")
    node = cluster.nodes[index]
    node.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        new = [await slack.publish(ask("slack", number)) for number in range(10, 20)]
        waited = time.monotonic() - began
    finally:
        node.signal(signal.SIGCONT)
    assert new == [True] * 10 or new[1:] == [True] * 9  # the first may be acknowledged late
    assert 0.5 < waited < 30
    async with asyncio.timeout(30):
        while len(read) < 10:
            await asyncio.sleep(0.05)
    await asyncio.to_thread(cluster.until_healthy)
    assert read == [f"slack-{number}" for number in range(10, 20)]
    await end(reading)
    await slack.close()


async def test_without_leaders_a_lease_is_kept_and_the_status_says_what_is_missing(
    cluster: NatsCluster,
) -> None:
    """Holder and standby are connected to a server that has lost the two others."""
    await replicated(cluster)
    leader = await until_leader(cluster, names.PROMPTS)
    index = next(i for i, node in enumerate(cluster.nodes) if node.name != leader)
    only = cluster.url("discord", first=index).split(",")[0]
    buses = [await Bus.connect(only, name="discord") for _ in range(2)]
    holder, standby = (Lease(bus, "discord", place=p) for bus, p in zip(buses, "ab", strict=True))
    leaders = StreamLeaders.of_adapter(buses[0], "discord", consumer="discord")
    await holder.acquire()
    tasks = [asyncio.create_task(work)
             for work in (holder.keep(), standby.acquire(), leaders.watch())]  # fmt: skip
    while not holder.others_wait:
        await asyncio.sleep(0.05)
    assert not leaders.trouble
    others = [node for node in cluster.nodes if node is not cluster.nodes[index]]
    for node in others:
        node.signal(signal.SIGSTOP)
    began = time.monotonic()
    storing = asyncio.create_task(buses[0].publish(ask("discord", 60), patience_s=30))
    try:
        async with asyncio.timeout(AWAY_S + 5):
            while not (leaders.trouble and buses[0].storing_trouble):
                await asyncio.sleep(0.05)
        assert "leader for the stream" in leaders.trouble
        await asyncio.sleep(began + LOST_AFTER_S + 2 - time.monotonic())
    finally:
        for node in others:
            node.signal(signal.SIGCONT)
    async with asyncio.timeout(40):
        await storing
    assert not buses[0].storing_trouble
    async with asyncio.timeout(15):
        while leaders.trouble:
            await asyncio.sleep(0.05)
    assert holder.is_held
    assert not standby.is_held
    await end(*tasks)
    for bus in buses:
        await bus.close()
    await asyncio.to_thread(cluster.until_healthy)


async def test_batches_that_an_election_interrupts_are_stored_once_and_in_order(
    cluster: NatsCluster, admin: Bus
) -> None:
    """600 people send three events each; the stream's leader is killed while batches are sent."""
    await replicated(cluster)
    slack = await Bus.connect(cluster.url("slack"), name="slack")
    start = await admin.last_sequence(names.PROMPTS)
    node = cluster.node(await until_leader(cluster, names.PROMPTS))

    async def send(number: int) -> None:
        for count in range(3):
            event = ask("slack", 1000 * count + number).model_copy(
                update={"user": user_names.user_of("slack", f"u{number}"),
                        "id": f"slack-batch-{number}-{count}"}
            )  # fmt: skip
            await slack.publish(event, patience_s=PUBLISH_PATIENCE_S)

    sending = [asyncio.create_task(send(number)) for number in range(600)]
    while await admin.last_sequence(names.PROMPTS) < start + 100:
        await asyncio.sleep(0.01)
    node.kill()
    await asyncio.gather(*sending)
    node.start()
    await asyncio.to_thread(cluster.until_healthy)
    stored: dict[str, list[str]] = {}
    batched = 0
    for sequence in range(start + 1, await admin.last_sequence(names.PROMPTS) + 1):
        message = await admin.js.get_msg(names.PROMPTS, sequence)
        event = Ask.model_validate_json(message.data or b"")
        stored.setdefault(event.user, []).append(event.id.rpartition("-")[2])
        batched += BATCH_ID in (message.headers or {})
    assert len(stored) == 600
    assert set(map(tuple, stored.values())) == {("0", "1", "2")}
    assert batched > BATCH_FROM
    await slack.close()


async def test_a_dead_server_is_named_and_can_be_replaced_by_an_empty_one(
    cluster: NatsCluster, admin: Bus
) -> None:
    """Processes connect although the first server of the list is dead."""
    await replicated(cluster)
    node = cluster.nodes[0]
    node.kill()
    shutil.rmtree(node.folder / "store")
    bus = await Bus.connect(cluster.url("slack"), name="slack")
    await bus.publish(ask("slack", 30))
    await bus.close()
    async with asyncio.timeout(30):
        while not (found := await doctor_says(admin, 3, cluster.url("admin"))) or not any(
            finding.what == f"{names.PROMPTS}: {node.name} does not answer" for finding in found
        ):
            await asyncio.sleep(0.2)
    assert all("Three NATS servers" in f.advice for f in found if "not answer" in f.what)
    node.start()
    await asyncio.to_thread(cluster.until_healthy)
    async with asyncio.timeout(30):
        while [f.grade for f in await doctor_says(admin, 3, cluster.url("admin"))] != ["ok"]:
            await asyncio.sleep(0.2)


async def test_all_servers_away_for_a_while_are_waited_for(cluster: NatsCluster) -> None:
    """What was stored is still there afterwards, and what waited is stored once."""
    await replicated(cluster)
    slack = await Bus.connect(cluster.url("slack"), name="slack")
    await slack.publish(ask("slack", 40))
    for node in cluster.nodes:
        node.kill()
    with pytest.raises(Unavailable):
        await Bus.connect(cluster.url("slack"), name="late", wait_s=1.0, on_closed=lambda: None)
    publishing = asyncio.create_task(slack.publish(ask("slack", 41), patience_s=20.0))
    await asyncio.sleep(1)
    assert not publishing.done()
    for node in cluster.nodes:
        node.start()
    await asyncio.to_thread(cluster.until_healthy)
    await publishing
    assert not await slack.publish(ask("slack", 40), patience_s=20.0)
    assert not await slack.publish(ask("slack", 41), patience_s=20.0)
    await slack.close()


async def test_a_fourth_server_joins_with_the_three_routes(cluster: NatsCluster) -> None:
    """It is found by the others, and clients connect to it."""
    fourth = await asyncio.to_thread(cluster.add, "n4")
    try:
        await asyncio.to_thread(cluster.until_healthy)
        only = cluster.url("slack", first=3).split(",")[0]
        slack = await Bus.connect(only, name="slack")
        assert await slack.publish(ask("slack", 50))
        await slack.close()
        leader = cluster.node(cluster.leader())
        assert (leader.ask("/jsz") or {})["meta_cluster"]["cluster_size"] == 4
    finally:
        fourth.kill()
        cluster.nodes.remove(fourth)


# --- the doctor -----------------------------------------------------------------------------------


async def test_the_doctor_names_what_lags_and_what_has_no_leader() -> None:
    peers = [
        api.PeerInfo(name="n2", current=False, active=100_000_000, lag=1200),
        api.PeerInfo(name="n3", current=False, active=0, lag=2),
        api.PeerInfo(name="n4", current=True, active=6_000_000_000),
    ]
    info = api.StreamInfo(
        config=api.StreamConfig(name="PROMPTS", num_replicas=3),
        state=api.StreamState(0, 0, 0, 0, 0),
        cluster=api.ClusterInfo(leader="n1", replicas=peers),
    )
    assert [(finding.grade, finding.what) for finding in findings_about(info, 5)] == [
        ("warn", "PROMPTS: 3 of 5"),
        ("warn", "PROMPTS: n2 is 1,200 operations behind"),
        ("warn", "PROMPTS: n3 does not answer"),
        ("warn", "PROMPTS: n4 does not answer"),
    ]
    info.cluster = api.ClusterInfo(replicas=[])
    assert [finding.grade for finding in findings_about(info, 3)] == ["fail"]


# --- certificates ---------------------------------------------------------------------------------


def certified(deploy: Path, *names: str) -> subprocess.CompletedProcess[str]:
    deploy.mkdir(parents=True, exist_ok=True)
    script = shutil.copy(ROOT / "deploy" / "cluster-certificates.sh", deploy)
    return subprocess.run(["sh", script, *names], capture_output=True, text=True, check=False)


async def test_certificates_are_private_and_never_replaced(tmp_path: Path) -> None:
    deploy = tmp_path / "my deploy"
    assert certified(deploy, "n1.example.org,10.0.0.1,::1").returncode == 0
    made = {path: path.read_bytes() for path in (deploy / "tls").rglob("*") if path.is_file()}
    assert {path.name for path in made} == {"ca.key", "ca.pem", "server.key", "server.pem"}
    for path in made:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert certified(deploy, "n1.example.org", "n2.example.org").returncode == 0
    assert {path: path.read_bytes() for path in made} == made
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in",
         str(deploy / "tls" / "n1.example.org" / "server.pem")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert re.findall(r"(?:DNS|IP Address):(\S+?)(?:,|\s|$)", shown) == [
        "n1.example.org", "10.0.0.1", "0:0:0:0:0:0:0:1",
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", ["", "../n1", "n1 n2", "n1,", "-x", "n1\nsubjectAltName=DNS:x"])
async def test_names_that_cannot_be_hosts_are_refused(tmp_path: Path, wrong: str) -> None:
    done = certified(tmp_path, wrong)
    assert done.returncode == 1
    assert "write host names and addresses" in done.stderr
    assert not (tmp_path / "tls").exists()


async def test_the_cluster_has_the_users_of_one_server() -> None:
    """The file adds nothing but what a cluster needs."""
    text = (ROOT / "deploy" / "nats-cluster.conf").read_text()
    assert 'include "nats-server.conf"' in text
    assert "password" not in re.sub(r"#.*", "", text)
    users = re.findall(r"user: (\w+)", (ROOT / "deploy" / "nats-server.conf").read_text())
    assert set(users) == set(ROLES)
