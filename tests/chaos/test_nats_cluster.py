"""Leaders of a real NATS cluster are killed and hang under load: nothing is lost or doubled.

Three nats-servers with deploy/nats-cluster.conf keep each message three times. The dataflow and the
gateway are processes, and people ask on a chat platform (a real relay) and by plain NATS requests,
each process with its own role, over TLS. Each fault hits the server that leads a stream at that
moment. THREADWAX_TEST_CLUSTER_ROUNDS=3 runs all kinds of faults three times (`make cluster-kills`).
"""

import asyncio
import os
import secrets
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client

from bots.adapter import PUBLISH_PATIENCE_S
from bots.gateway.messages import ERROR_HEADER
from bots.relay import Relay
from ops.nats import set_up_streams
from shared import names, user_names
from shared.bus import Bus
from shared.messages import Ask
from shared.nats_address import address_of
from shared.nats_client import NatsClient
from shared.replies import Reply
from shared.tasks import end
from tests.fakes.model import FakeModel
from tests.fakes.platform import FakePlatform
from tests.nats_cluster import NatsCluster, Node, nats_cluster
from tests.running import Running, dataflow, direct

ROUNDS = int(os.environ.get("THREADWAX_TEST_CLUSTER_ROUNDS", "0"))
"""0: two faults only, which take about 40 s."""

CALM_S = 2.0
HUNG_S = 10.0
DOWN_S = 3.0
ANSWERED_WITHIN_S = 60.0
REQUEST_S = 5.0
"""The usual timeout of a NATS request; the people of the gateway repeat it under the same id."""

PEOPLE = 8
REQUESTERS = 4


@dataclass
class Fault:
    """What happens to the server that leads a stream."""

    stream: str
    hangs: bool = False

    def __str__(self) -> str:
        return f"{'SIGSTOP' if self.hangs else 'kill -9'} of the leader of {self.stream}"


KILLS = [Fault(names.PROMPTS), Fault(names.REPLIES)]
HANGS = [Fault(names.PROMPTS, hangs=True), Fault(names.REPLIES, hangs=True)]
FAULTS = [fault for _ in range(ROUNDS) for fault in KILLS + HANGS] or [KILLS[0], HANGS[1]]


@dataclass
class Crowd:
    """What people asked, when, and what they saw."""

    asked: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    waits: list[tuple[float, float]] = field(default_factory=list)
    """When each answer was seen, and after how many seconds."""
    refused: list[str] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    repeats: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def longest_since(self, start: float) -> float:
        return max((wait for seen_at, wait in self.waits if seen_at >= start), default=0.0)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NatsCluster]:
    with nats_cluster(tmp_path / "cluster") as cluster:
        monkeypatch.setenv("SSL_CERT_FILE", str(cluster.authority))
        yield cluster


@pytest.mark.timeout(120 + 60 * len(FAULTS))
async def test_leaders_that_die_or_hang_lose_nothing_and_double_nothing(
    cluster: NatsCluster, tmp_path: Path, fake_model: FakeModel
) -> None:
    await set_up_streams(cluster.url("admin"), replicas=3)
    fake_model.reply = _reply
    flow = dataflow(
        tmp_path / "flow", cluster.url("dataflow"), fake_model.base_url,
        SSL_CERT_FILE=str(cluster.authority), THREADWAX_SUMMARIES="false",
    ).start()  # fmt: skip
    env = {**cluster.env("gateway"), "THREADWAX_HOME": str(tmp_path / "gateway")}
    gateway = Running("gateway", log=tmp_path / "gateway.log", env=env).start()
    admin = await Bus.connect(cluster.url("admin"), name="setup")
    slack = await Bus.connect(cluster.url("slack"), name="slack")
    address = address_of(cluster.url("client"))
    client = NatsClient(address, may_be_guest=True)
    await client.connect(
        **address.options(),
        max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=_silent,  # type: ignore[arg-type]
        ping_interval=2, max_outstanding_pings=2,
    )  # fmt: skip
    platform = FakePlatform(name="slack", text_limit_chars=2000)
    relay = Relay(slack, platform, consumer="slack", subject=names.replies_to_platform("slack"))
    relaying = asyncio.create_task(relay.run())
    crowd = Crowd()
    try:
        await asyncio.gather(flow.ready(), gateway.ready())
        people = [
            *(_chat(f"U{n}", slack, platform, crowd) for n in range(PEOPLE)),
            *(_request(f"R{n}", client, crowd) for n in range(REQUESTERS)),
        ]
        asking = [asyncio.create_task(person) for person in people]
        longest: dict[str, float] = defaultdict(float)
        for fault in FAULTS:
            await asyncio.sleep(CALM_S)
            start = time.monotonic()
            await _strike(cluster, fault)
            await asyncio.sleep(CALM_S)
            longest[str(fault)] = max(longest[str(fault)], crowd.longest_since(start))
        crowd.done.set()
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            await asyncio.gather(*asking)
        for what, seconds in longest.items():
            print(f"{what}: longest wait {seconds:.1f} s")  # noqa: T201  (the measurement)
        asked = sum(map(len, crowd.asked.values()))
        texts = Counter(request["messages"][-1]["content"] for request in fake_model.requests)
        repeated = sum(count - 1 for text, count in texts.items() if count > 1)
        print(f"{asked} questions, {crowd.repeats} repeats, {repeated} asked twice")  # noqa: T201
        assert crowd.refused == []
        await _check(admin, platform, crowd)
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            while not all(node.is_healthy for node in cluster.nodes):
                await asyncio.sleep(0.1)
    finally:
        await end(relaying)
        for bus in (admin, slack):
            await bus.close()
        await client.close()
        flow.kill()
        gateway.kill()


def _reply(request: dict[str, Any]) -> str:
    # No two texts are equal, so that a second answer to a question differs from the first.
    return f"re: {request['messages'][-1]['content']} {secrets.token_hex(4)}"


async def _strike(cluster: NatsCluster, fault: Fault) -> None:
    """One fault, until every server is back and up to date."""
    node = await asyncio.to_thread(_leader, cluster, fault.stream)
    if fault.hangs:
        node.signal(signal.SIGSTOP)
        await asyncio.sleep(HUNG_S)
        node.signal(signal.SIGCONT)
    else:
        node.kill()
        await asyncio.sleep(DOWN_S)
        node.start()
    await asyncio.to_thread(cluster.until_healthy)


def _leader(cluster: NatsCluster, stream: str) -> Node:
    while not (name := cluster.leader(stream)):
        time.sleep(0.1)
    return cluster.node(name)


async def _chat(name: str, bus: Bus, platform: FakePlatform, crowd: Crowd) -> None:
    """Somebody who asks two questions at once and waits for both answers, again and again."""
    user = user_names.user_of("slack", name)
    number = 0
    while not crowd.done.is_set():
        start = time.monotonic()
        for _ in range(2):
            number += 1
            ask = Ask(
                id=f"slack-{name}-{number}", user=user, place=direct(name, "slack"),
                said_at=datetime.now(UTC), text=f"{name} {number}",
            )  # fmt: skip
            crowd.asked[user].append(ask.id)
            try:
                await bus.publish(ask, patience_s=PUBLISH_PATIENCE_S)
            except Exception as error:  # noqa: BLE001  (the test fails with all of them)
                crowd.refused.append(f"{ask.id}: {error!r}")
        wanted = set(crowd.asked[user])
        await platform.until(
            lambda wanted=wanted: wanted <= {post.reply.prompt_id for post in platform.posts},  # type: ignore[misc]
            seconds=ANSWERED_WITHIN_S,
        )
        crowd.waits.append((time.monotonic(), time.monotonic() - start))
        await asyncio.sleep(0.1)


async def _request(name: str, client: Client, crowd: Crowd) -> None:
    """A program that asks by NATS requests, and repeats one that is not answered in time."""
    user = user_names.user_of("gateway", name)
    number = 0
    while not crowd.done.is_set():
        number += 1
        marker = f"{name}-{number}"
        body = f'{{"user_id": "{name}", "prompt": "{marker}"}}'.encode()
        start = time.monotonic()
        while True:
            try:
                answer = await client.request(
                    names.GATEWAY_SUBJECT, body, timeout=REQUEST_S,
                    headers={"Nats-Msg-Id": marker},
                )  # fmt: skip
            except (nats.errors.Error, TimeoutError, OSError):
                crowd.repeats += 1
                assert time.monotonic() - start < ANSWERED_WITHIN_S, f"{marker} is not answered"
                await asyncio.sleep(0.1)
                continue
            break
        if (answer.headers or {}).get(ERROR_HEADER):
            crowd.refused.append(f"{marker}: {answer.data.decode()}")
        crowd.answers[marker] = answer.data.decode()
        crowd.asked[user].append(marker)
        crowd.waits.append((time.monotonic(), time.monotonic() - start))
        await asyncio.sleep(0.1)


async def _check(admin: Bus, platform: FakePlatform, crowd: Crowd) -> None:
    """Each question has one reply in the journal, which people saw once and in order."""
    replies: dict[str, list[Reply]] = defaultdict(list)
    for sequence in range(1, await admin.last_sequence(names.REPLIES) + 1):
        message = await admin.until_done(lambda n=sequence: admin.js.get_msg(names.REPLIES, n))  # type: ignore[misc]
        reply = Reply.model_validate_json(message.data or b"")
        replies[reply.user].append(reply)
    posts = Counter(post.reply.prompt_id for post in platform.posts)
    assert [prompt for prompt, count in posts.items() if count != 1] == []
    for user, asked in crowd.asked.items():
        journal = replies[user]
        texts = [reply.text for reply in journal]
        assert [reply.outcome for reply in journal] == ["answered"] * len(asked), user
        if user_names.split_user(user)[0] == "gateway":
            assert texts == [crowd.answers[marker] for marker in asked], user
        else:
            assert [reply.prompt_id for reply in journal] == asked, user
            assert platform.texts(user) == texts, user


async def _silent(_: Exception) -> None:
    """Ignores the error: a lost connection makes the requests fail."""
