"""Several Slack adapters are to send the same notice or file, and its reader gets it once."""

import asyncio
import itertools
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from bots.slack.api import client_of, new_session
from bots.slack.notices import Notices
from bots.slack.origin import Origin
from bots.slack.own_history import OwnHistory
from bots.slack.send_once import CLAIMED_WITHIN_S, LOOK_EVERY_S, SILENT_LOOKS
from bots.slack.workspaces import Workspace
from ops.nats_server import NatsServer
from shared.bus import Bus
from shared.connection import Unavailable
from shared.receipts import Receipts
from tests.fakes.slack import BOT_TOKEN, ROOM, FakeSlack, Fault
from tests.fakes.slack_shapes import TEAM
from tests.fakes.tcp_proxy import TcpProxy, Way
from tests.running import ROOT

SILENT_S = LOOK_EVERY_S * SILENT_LOOKS

VERSION = """
from bots.slack.events import message_in
event = {"type": "message", "channel": "CROOM", "ts": "1700000000.000100", "user": "UADA",
         "text": "<@UBOT> hello"}
print(message_in({"team_id": "T1", "event": event}).version)
"""


class Two:
    """What two processes send, each with a connection of its own to NATS."""

    def __init__(self, slack: FakeSlack, origin: Origin) -> None:
        self.slack = slack
        self.origin = origin
        self.proxies: list[TcpProxy] = []
        self.both: list[Notices] = []
        self.exports: list[OwnHistory] = []
        self.recorder_answers = asyncio.Event()

    async def send(self, words: str) -> list[asyncio.Task[None]]:
        """Both are to send the same notice; the first one claims it."""
        first = asyncio.create_task(self.both[0].send(self.origin, words, about="m1"))
        await asyncio.sleep(0.2)
        second = asyncio.create_task(self.both[1].send(self.origin, words, about="m1"))
        return [first, second]

    async def fetch(self, user: str) -> bytes:
        await self.recorder_answers.wait()
        return f"# What {user} asked".encode()

    def files(self) -> int:
        return len(self.slack.bot_messages("DADA", None))

    async def settled(self) -> None:
        await asyncio.gather(*(one.settled() for one in self.both))


@pytest.fixture
async def two(nats: NatsServer) -> AsyncIterator[Two]:
    async with AsyncExitStack() as stack:
        slack = await FakeSlack().start()
        stack.push_async_callback(slack.stop)
        session = await stack.enter_async_context(new_session())
        client = client_of(BOT_TOKEN, slack.url, session)
        two = Two(slack, Origin(Workspace(client, {"team_id": TEAM}), ROOM, "UADA"))
        for number in range(2):
            proxy = await TcpProxy.start(nats.url)
            stack.push_async_callback(proxy.stop)
            bus = await Bus.connect(proxy.url(nats.url), name=f"notices{number}")
            stack.push_async_callback(bus.close)
            two.proxies.append(proxy)
            receipts = Receipts(bus, "slack", owner=f"process{number}")
            notices = Notices(time.monotonic, receipts)
            two.both.append(notices)
            export = OwnHistory(two.fetch, session, notices, receipts)
            stack.push_async_callback(export.close)
            two.exports.append(export)
        yield two


def test_every_process_has_the_same_name_for_a_version_of_a_message() -> None:
    """A notice is claimed by it. Python's own hashes differ from process to process."""
    names = {
        subprocess.run(
            [sys.executable, "-c", VERSION], env={**os.environ, "PYTHONHASHSEED": seed}, cwd=ROOT,
            check=True, capture_output=True, text=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(names) == 1


async def test_a_notice_of_two_processes_is_sent_once(two: Two) -> None:
    """Whichever comes first, and however close they are."""
    for number in itertools.chain(range(20)):
        about = f"m{number}"
        sending = [one.send(two.origin, "no", about=about) for one in two.both]
        await asyncio.gather(*(reversed(sending) if number % 2 else sending))
        await two.settled()
        assert len(two.slack.ephemerals) == number + 1


async def test_a_notice_that_slack_lets_wait_is_not_sent_by_another_process(two: Two) -> None:
    """The claim is renewed as long as its process lives, so the other one waits, too."""
    two.slack.faults["chat.postEphemeral"].append(Fault("limit", retry_after_s=round(SILENT_S) + 2))
    await two.send("no")
    await two.settled()
    assert two.slack.told("UADA") == ["no"]
    assert [method for method, _ in two.slack.calls].count("chat.postEphemeral") == 2


@pytest.mark.parametrize("surely", [True, False])
async def test_a_notice_whose_claim_has_no_answer_in_time_is_sent_once(
    two: Two, surely: bool
) -> None:
    """NATS has stored the claim. Slack delivers the event again, perhaps to the other process."""
    two.proxies[0].lose(Way.DOWN)
    first = two.both[0].send(two.origin, "no", about="m1", surely=surely)
    if surely:
        await first
    else:
        with pytest.raises(Unavailable):
            await first
        assert two.slack.ephemerals == []
    two.proxies[0].lose()
    await two.both[1].send(two.origin, "no", about="m1")
    await two.settled()
    assert two.slack.told("UADA") == ["no"]


async def test_a_notice_of_a_dead_process_is_sent_by_the_other(two: Two) -> None:
    """One that is cut off from NATS counts as dead, and sends nothing when it is back."""
    two.slack.always["chat.postEphemeral"] = Fault("limit", retry_after_s=60)
    first, second = await two.send("no")
    two.proxies[0].pause()
    await asyncio.sleep(1)
    del two.slack.always["chat.postEphemeral"]
    await two.both[1].settled()
    assert two.slack.told("UADA") == ["no"]
    two.proxies[0].resume()
    async with asyncio.timeout(CLAIMED_WITHIN_S + 10):
        await asyncio.gather(first, second)
        await two.settled()
    assert two.slack.told("UADA") == ["no"]


async def test_a_person_who_asks_two_processes_for_their_data_gets_one_file(two: Two) -> None:
    """The second one waits for the first, also if both are asked at the same moment."""
    for files in (1, 2):  # later, they can ask again
        two.recorder_answers.clear()
        for export in two.exports:
            export.begin(two.origin)
        await asyncio.sleep(2 * LOOK_EVERY_S)
        two.recorder_answers.set()
        sending = [task for export in two.exports for task in export._sending.values()]
        assert len(sending) == 2
        await asyncio.gather(*sending)
        assert two.files() == files


async def test_a_file_that_a_dead_process_was_to_send_is_sent_by_the_other(two: Two) -> None:
    """The person was told that it comes."""
    two.exports[0].begin(two.origin)
    await asyncio.sleep(2 * LOOK_EVERY_S)
    two.exports[1].begin(two.origin)
    await two.exports[0].close()
    two.recorder_answers.set()
    async with asyncio.timeout(SILENT_S + 10):
        await asyncio.gather(*two.exports[1]._sending.values())
    assert two.files() == 1
