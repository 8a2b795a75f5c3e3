"""SIGTERM in every state: the dataflow ends in time with exit code 0, and no question is lost."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from nats.js.api import ConsumerInfo

from dataflow.shutdown import END_S
from ops.nats import set_up_streams
from ops.nats_server import NatsServer
from shared import names
from shared.bus import Bus
from shared.lifecycle import SAME_STOP_S
from shared.messages import Ask
from shared.partitioning import DEFAULT_PARTITIONS
from tests.fakes.greeter import Greeter
from tests.fakes.model import FakeModel
from tests.full_disk import fill
from tests.restricted_nats import restricted_nats
from tests.running import ROOT, START_S, Running, answer_to, dataflow, question

DRAIN_S = 1.5
SLACK_S = 30.0
"""Enough for any loaded machine. Without a deadline, a stop would take minutes or never end."""

FIRST_PROCESS = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")

SHORT_DRAIN = f"""
from dataflow.run import main
from shared.settings import Settings
raise SystemExit(main(Settings(), drain_s={DRAIN_S}))
"""

LOOP_IS_STUCK = f"""
import threading, time
from dataflow import answering
from dataflow.run import main
from shared.settings import Settings

async def stuck(self, within_s):
    time.sleep(3600)

answering.Answering.stop = stuck
raise SystemExit(main(Settings(), drain_s={DRAIN_S}))
"""

WORKER_IS_STUCK = f"""
import time
from dataflow.heard_source import HeardPartition
from dataflow.run import main
from shared.settings import Settings

next_batch = HeardPartition.next_batch

def stuck_at_the_end(self):
    try:
        return next_batch(self)
    except StopIteration:
        time.sleep(3600)

HeardPartition.next_batch = stuck_at_the_end
raise SystemExit(main(Settings(), drain_s={DRAIN_S}))
"""

LONG_DRAIN = """
from dataflow.run import main
from shared.settings import Settings
raise SystemExit(main(Settings(), drain_s=3600))
"""


def start_flow(home: Path, nats_url: str, model: FakeModel, program: str = SHORT_DRAIN) -> Running:
    flow = dataflow(home, nats_url, model.base_url)
    flow.command = ("-c", program)
    return flow.start()


async def ended(
    flow: Running,
    *,
    within_s: float = DRAIN_S + END_S,
    number: signal.Signals = signal.SIGTERM,
) -> int:
    """Sends a signal, waits for the end, and returns the exit code."""
    flow.signal(number)
    assert flow.process is not None
    async with asyncio.timeout(within_s + SLACK_S):
        while (code := flow.process.poll()) is None:
            await asyncio.sleep(0.02)
    assert "Traceback" not in flow.log.read_text()
    return code


def times_logged(flow: Running, words: str) -> int:
    return flow.log.read_text(errors="replace").count(words)


async def unanswered_question(bus: Bus, model: FakeModel, name: str = "ada") -> Ask:
    """Publishes a question that the model receives but has not answered yet."""
    before = len(model.requests)
    ask = question(name, len(model.requests), "hello")
    await bus.publish(ask)
    async with asyncio.timeout(20):
        while len(model.requests) == before:
            await asyncio.sleep(0.01)
    return ask


async def check_answered_after_restart(flow: Running, bus: Bus, model: FakeModel, ask: Ask) -> None:
    """A question whose answer was interrupted is asked again after a start."""
    model.delay_s = 0
    flow.log.write_text("")
    await flow.start().ready()
    reply = await bus.reply_when_stored(ask.user, ask.id, timeout_s=30)
    assert reply is not None
    assert reply.outcome == "answered"
    assert await ended(flow) == 0


async def test_a_stop_works_while_nats_denies_everything(
    tmp_path: Path, fake_model: FakeModel
) -> None:
    """The permissions are revoked at run time: the dataflow keeps trying until the signal."""
    with restricted_nats(tmp_path / "restricted") as server:
        await set_up_streams(server.operator_url)
        operator = await Bus.connect(server.operator_url, name="test")
        flow = await start_flow(tmp_path / "home", server.url, fake_model).ready()
        async with asyncio.timeout(30):
            readers: list[ConsumerInfo] = []
            while len(readers) < DEFAULT_PARTITIONS:
                await asyncio.sleep(0.05)
                readers = await operator.js.consumers_info(names.PROMPTS)
        await asyncio.to_thread(server.deny, ">")
        # Otherwise the pulls that were begun before would still work for 30 s.
        for reader in readers:
            await operator.js.delete_consumer(names.PROMPTS, reader.name)
        async with asyncio.timeout(30):
            while times_logged(flow, "cannot read now") < DEFAULT_PARTITIONS:
                await asyncio.sleep(0.05)
        assert times_logged(flow, "stream.info.prompts") == 1
        assert await ended(flow) == 0
        await operator.close()


@pytest.mark.parametrize("command", ["dataflow", "gateway", "slack", "discord"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_stop_works_before_nats_is_reached(
    tmp_path: Path, fake_model: FakeModel, command: str, number: signal.Signals
) -> None:
    """A process that waits for the first connection ends at once, without a traceback."""
    tokens = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1", "DISCORD_TOKEN": "x"}
    own = {name: value for name, value in tokens.items() if name.lower().startswith(command)}
    nobody = "nats://127.0.0.1:9"
    flow = dataflow(tmp_path / "home", nobody, fake_model.base_url, command, **own).start()
    why = "waiting for NATS at 127.0.0.1:9: nobody answers there"
    async with asyncio.timeout(60):
        while not times_logged(flow, why):
            await asyncio.sleep(0.05)
    assert times_logged(flow, why) == 1
    assert await ended(flow, number=number) == 0


async def test_a_stop_works_while_nats_denies_the_journal(
    tmp_path: Path, fake_model: FakeModel
) -> None:
    """The answer in progress cannot be stored."""
    with restricted_nats(tmp_path / "restricted") as server:
        await set_up_streams(server.operator_url)
        bus = await Bus.connect(server.operator_url, name="test")
        flow = await start_flow(tmp_path / "home", server.url, fake_model).ready()
        assert (await answer_to(bus, question("ada", "first", "hello"))).outcome == "answered"
        fake_model.delay_s = 1.0
        ask = await unanswered_question(bus, fake_model)
        await asyncio.to_thread(server.deny, "replies.>", "$JS.API.>")
        async with asyncio.timeout(30):
            while not times_logged(flow, "nats refused"):
                await asyncio.sleep(0.05)
        assert await ended(flow) == 0
        await asyncio.to_thread(server.deny)
        await check_answered_after_restart(flow, bus, fake_model, ask)
        await bus.close()


async def until_lost(flow: Running) -> None:
    async with asyncio.timeout(30):
        while not times_logged(flow, "nats lost"):
            await asyncio.sleep(0.05)


async def test_a_stop_works_during_an_outage_of_nats(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """An answer is in progress."""
    flow = await start_flow(tmp_path / "home", nats.url, fake_model).ready()
    fake_model.delay_s = 0.5
    ask = await unanswered_question(bus, fake_model)
    nats.stop()
    await until_lost(flow)
    assert await ended(flow) == 0
    nats.start()
    await check_answered_after_restart(flow, bus, fake_model, ask)


async def test_a_stop_with_nothing_in_progress_does_not_wait_for_nats(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """The users are given away in the store, which does not need NATS."""
    flow = await start_flow(tmp_path / "home", nats.url, fake_model, LONG_DRAIN).ready()
    await answer_to(bus, question("ada", "first", "hello"))
    nats.stop()
    await until_lost(flow)
    assert await ended(flow) == 0
    nats.start()
    flow.log.write_text("")
    await flow.start().ready()
    await answer_to(bus, question("ada", "second", "hello again"))
    assert len(fake_model.requests[-1]["messages"]) == 4
    assert await ended(flow) == 0


async def test_a_stop_works_while_the_journal_is_missing(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """The journal's stream was deleted, and an answer waits to be stored."""
    flow = await start_flow(tmp_path / "home", nats.url, fake_model).ready()
    await answer_to(bus, question("ada", "first", "hello"))
    await bus.js.delete_stream(names.REPLIES)
    ask = await unanswered_question(bus, fake_model)
    async with asyncio.timeout(30):
        while not times_logged(flow, "nats does not store"):
            await asyncio.sleep(0.05)
    assert await ended(flow) == 0
    await set_up_streams(nats.url)
    await check_answered_after_restart(flow, bus, fake_model, ask)


async def test_a_stop_works_while_the_model_hangs(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    flow = await start_flow(tmp_path / "home", nats.url, fake_model).ready()
    fake_model.delay_s = 3600
    ask = await unanswered_question(bus, fake_model)
    assert await ended(flow) == 0
    await check_answered_after_restart(flow, bus, fake_model, ask)


@pytest.mark.parametrize("program", [LOOP_IS_STUCK, WORKER_IS_STUCK], ids=["loop", "worker"])
async def test_a_stop_works_while_a_thread_is_stuck(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel, program: str
) -> None:
    """A separate thread enforces the deadline."""
    flow = await start_flow(tmp_path / "home", nats.url, fake_model, program).ready()
    fake_model.delay_s = 3600
    ask = await unanswered_question(bus, fake_model)
    assert await ended(flow) == 0
    assert times_logged(flow, "it takes too long") == 1
    flow.command = ("-c", SHORT_DRAIN)
    await check_answered_after_restart(flow, bus, fake_model, ask)


async def test_a_second_signal_ends_the_process_at_once(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """Ctrl-C pressed twice ends the process. The two signals that `timeout` sends count as one."""
    flow = await start_flow(tmp_path / "home", nats.url, fake_model, LONG_DRAIN).ready()
    fake_model.delay_s = 3600
    ask = await unanswered_question(bus, fake_model)
    flow.signal(signal.SIGINT)
    async with asyncio.timeout(20):
        while not times_logged(flow, "stopping"):
            await asyncio.sleep(0.02)
    assert flow.process is not None
    flow.signal(signal.SIGTERM)
    await asyncio.sleep(SAME_STOP_S + 0.1)
    assert flow.process.poll() is None
    assert await ended(flow, within_s=0) == 0
    assert times_logged(flow, "signalled again") == 1
    flow.command = ("-c", SHORT_DRAIN)
    await check_answered_after_restart(flow, bus, fake_model, ask)


async def test_a_stop_works_right_after_the_start(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """The dataflow is still resuming, with a question that must be asked again."""
    flow = await start_flow(tmp_path / "home", nats.url, fake_model).ready()
    fake_model.delay_s = 3600
    ask = await unanswered_question(bus, fake_model)
    for _ in range(2):
        assert await ended(flow) == 0
        flow.log.write_text("")
        await flow.start().ready()
    assert await ended(flow) == 0
    await check_answered_after_restart(flow, bus, fake_model, ask)


async def test_a_stop_works_with_a_full_disk(
    nats: NatsServer, bus: Bus, small_disk: Path, fake_model: FakeModel
) -> None:
    """Nothing can be written at the end; open questions are asked after the next start."""
    flow = dataflow(small_disk / "home", nats.url, fake_model.base_url)
    flow.command, flow.log = ("-c", SHORT_DRAIN), small_disk.parent / "flow.log"
    await flow.start().ready()
    await answer_to(bus, question("ada", "first", "hello"))
    fill(small_disk / "ballast")
    fake_model.delay_s = 3600
    ask = await unanswered_question(bus, fake_model)
    async with asyncio.timeout(20):
        while not times_logged(flow, "the store of conversations cannot be used"):
            await asyncio.sleep(0.05)
    assert await ended(flow) == 0
    (small_disk / "ballast").unlink()
    await check_answered_after_restart(flow, bus, fake_model, ask)


@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run([*FIRST_PROCESS, "true"], capture_output=True, check=False).returncode != 0,
    reason="process namespaces cannot be created here",
)
async def test_the_first_process_of_a_container_ends_even_before_it_is_ready(
    tmp_path: Path,
) -> None:
    """The kernel ignores signals that process 1 does not handle, so our process handles them."""
    environment = {**os.environ, "THREADWAX_HOME": str(tmp_path)}
    async with Greeter(b"") as silent:
        environment["NATS_URL"] = f"nats://127.0.0.1:{silent.port}"
        command = [*FIRST_PROCESS, sys.executable, "-m", "ops.cli", "nats", "--setup-only"]
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment)
        try:
            async with asyncio.timeout(START_S):
                while not silent.connections:
                    await asyncio.sleep(0.02)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            os.kill(int(children), signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), SLACK_S) == 128 + signal.SIGTERM
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
