"""Two readers of one consumer in a cluster: what one of them does not take goes to the other.

The server that leads the consumer does not know of connections to other servers from other
accounts, so it goes on delivering to a reader that is gone until its requests expire.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from bots.peers import PULLS_EXPIRE_S
from ops.nats import set_up_streams
from shared import names, user_names
from shared.bus import Bus
from shared.pull import EXPIRES_S, Pull, consume
from shared.replies import Reply
from shared.streams import ACK_WAIT_S
from shared.tasks import end
from tests.nats_cluster import NatsCluster, nats_cluster
from tests.running import START_S, direct

REPLIES = 30


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NatsCluster]:
    with nats_cluster(tmp_path / "cluster") as cluster:
        monkeypatch.setenv("SSL_CERT_FILE", str(cluster.authority))
        await set_up_streams(cluster.url("admin"), replicas=3)
        yield cluster


class Reader:
    """A reader of Slack's replies."""

    def __init__(self, bus: Bus, expires_s: float) -> None:
        self.bus = bus
        self.read: list[str] = []
        self.pull = Pull(
            bus, names.REPLIES, "slack", self._take, keep_inbox=True, expires_s=expires_s
        )
        self._reading = asyncio.create_task(consume(bus, self.pull))

    async def _take(self, message: Msg) -> None:
        self.read.append(Reply.model_validate_json(message.data).prompt_id)
        await message.ack()

    async def close(self) -> None:
        await end(self._reading)
        await self.bus.close()


async def reader(cluster: NatsCluster, number: int, *, expires_s: float = EXPIRES_S) -> Reader:
    """A reader that is connected to one server only, and has asked for replies."""
    bus = await Bus.connect(cluster.url("slack", first=number).split(",")[0], name="slack")
    made = Reader(bus, expires_s)
    async with asyncio.timeout(START_S):
        while not made.pull._is_heard:
            await asyncio.sleep(0.05)
    return made


async def journaled(cluster: NatsCluster) -> list[str]:
    """Stores replies to Slack; returns their ids."""
    admin = await Bus.connect(cluster.url("admin"), name="setup")
    now, prompts = datetime.now(UTC), [f"slack-{number}" for number in range(REPLIES)]
    for prompt in prompts:
        await admin.journal(
            Reply(
                prompt_id=prompt, user=user_names.user_of("slack", "ada"),
                place=direct("ada", "slack"),
                text="answer", outcome="answered", prompt_text="", said_at=now, answered_at=now,
            )
        )  # fmt: skip
    await admin.close()
    return prompts


async def until_all_read(one: Reader, wanted: list[str]) -> float:
    """Returns after how many seconds a reader has everything."""
    start = time.monotonic()
    async with asyncio.timeout(START_S):
        while set(one.read) != set(wanted):
            await asyncio.sleep(0.02)
    return time.monotonic() - start


async def test_a_reader_that_leaves_hands_back_what_still_comes(cluster: NatsCluster) -> None:
    """The other reader has all of it before the acknowledgement wait is over."""
    leaving = [await reader(cluster, number) for number in range(3)]
    staying = await reader(cluster, 0)
    for one in leaving:
        one.pull.hand_back()
    wanted = await journaled(cluster)
    assert await until_all_read(staying, wanted) < ACK_WAIT_S
    assert [one.read for one in leaving] == [[], [], []]
    assert len(staying.read) == REPLIES
    for one in (*leaving, staying):
        await one.close()


async def test_nothing_is_delivered_to_a_reader_that_was_lost_long_ago(
    cluster: NatsCluster,
) -> None:
    """However it ended: its requests have expired."""
    lost = [await reader(cluster, number, expires_s=PULLS_EXPIRE_S) for number in range(3)]
    staying = await reader(cluster, 0)
    for one in lost:
        one.bus.client._transport.close()  # type: ignore[union-attr]  (without a word)
        await end(one._reading)
        await one.bus.close()
    await asyncio.sleep(PULLS_EXPIRE_S + 0.5)
    wanted = await journaled(cluster)
    assert await until_all_read(staying, wanted) < ACK_WAIT_S
    await staying.close()
