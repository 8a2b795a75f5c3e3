"""What the flow stands on goes away and comes back: no process ends, nothing is lost, told once."""

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataflow.answering import NO_ROOM
from dataflow.prompts_source import DEFECT, UNREADABLE
from ops.nats_server import NatsServer
from shared import names
from shared.bus import Bus
from shared.connection import CLOSED_EXIT_CODE
from shared.lifecycle import CANNOT_START
from tests.fakes.model import FakeModel
from tests.running import ROOT, Running, answer_to, dataflow, question

AWAY_S = 8.0


@contextmanager
def model_process(*options: str) -> Iterator[str]:
    """The fake model as a process of its own, which goes on while others are stopped."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.model", *options],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def told(flow: Running, words: str) -> int:
    """How often the log says something."""
    return flow.log.read_text(errors="replace").count(words)


async def test_nats_away_for_a_while(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """An answer under way is journaled when the server is back, and the next is asked."""
    flow = dataflow(tmp_path / "home", nats.url, fake_model.base_url).start()
    await flow.ready()
    await answer_to(bus, question("ada", 0, "hello"))
    fake_model.delay_s = 1.0
    under_way = question("ada", 1, "under way")
    await bus.publish(under_way)
    await asyncio.sleep(0.5)
    nats.stop()
    await asyncio.sleep(AWAY_S)
    nats.start()
    reply = await bus.reply_when_stored(under_way.user, under_way.id, timeout_s=30)
    assert reply is not None
    assert reply.outcome == "answered"
    fake_model.delay_s = 0
    await answer_to(bus, question("ada", 2, "next"))
    assert len(fake_model.requests[-1]["messages"]) == 6
    assert flow.process is not None
    assert flow.process.poll() is None
    assert (told(flow, "nats lost"), told(flow, "nats is back")) == (1, 1)
    assert await flow.stop() == 0


async def test_a_process_that_stood_still_reads_what_came_meanwhile(
    nats: NatsServer, bus: Bus, tmp_path: Path
) -> None:
    """Stopped for longer than a model may be silent, in the midst of an answer: none breaks off."""
    with model_process("--pieces", "60", "--pause", "0.05") as url:
        flow = dataflow(tmp_path / "home", nats.url, url, THREADWAX_MODEL_SILENCE_S="1").start()
        await flow.ready()
        for number in range(3):
            answer = asyncio.create_task(answer_to(bus, question("ada", number, "at length")))
            await asyncio.sleep(0.7)
            flow.signal(signal.SIGSTOP)
            await asyncio.sleep(2)
            flow.signal(signal.SIGCONT)
            reply = await answer
            assert (reply.outcome, len(reply.text.split())) == ("answered", 60)
        assert await flow.stop() == 0


async def test_started_before_nats(nats: NatsServer, tmp_path: Path, fake_model: FakeModel) -> None:
    """The flow waits for a server that is not there yet, and says so once."""
    nats.stop()
    flow = dataflow(tmp_path / "home", nats.url, fake_model.base_url).start()
    async with asyncio.timeout(30):
        while not told(flow, "waiting for nats"):
            await asyncio.sleep(0.05)
    await asyncio.sleep(2)
    assert told(flow, "waiting for nats") == 1
    nats.start()
    await flow.ready()
    bus = await Bus.connect(nats.url, name="test")
    assert (await answer_to(bus, question("ada", 0, "hello"))).outcome == "answered"
    await bus.close()
    assert await flow.stop() == 0


async def test_a_stop_while_it_waits_for_nats(
    nats: NatsServer, tmp_path: Path, fake_model: FakeModel
) -> None:
    """There is nothing to finish, so it ends at once."""
    nats.stop()
    flow = dataflow(tmp_path / "home", nats.url, fake_model.base_url).start()
    async with asyncio.timeout(30):
        while not told(flow, "waiting for nats"):
            await asyncio.sleep(0.05)
    started = asyncio.get_running_loop().time()
    assert await flow.stop() == 0
    assert asyncio.get_running_loop().time() - started < 5


async def test_the_model_away_for_a_while(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """Many users' questions wait it out; the outage is told once and its end once."""
    flow = dataflow(tmp_path / "home", nats.url, fake_model.base_url).start()
    await flow.ready()
    port = fake_model.port
    await fake_model.stop()
    waiting = [
        asyncio.create_task(answer_to(bus, question(f"u{n}", 0, "hello"), timeout_s=60))
        for n in range(20)
    ]
    await asyncio.sleep(AWAY_S)
    await fake_model.start(port)
    replies = await asyncio.gather(*waiting)
    assert {reply.outcome for reply in replies} == {"answered"}
    assert told(flow, "the model does not answer") == 1
    assert told(flow, "the model answers again") == 1
    assert await flow.stop() == 0


async def test_a_stop_lets_answers_finish_and_keeps_the_rest(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """SIGTERM with an answer under way and one waiting: the first is given, the second later."""
    flow = dataflow(tmp_path / "home", nats.url, fake_model.base_url).start()
    await flow.ready()
    fake_model.delay_s = 1.5
    first, second = question("ada", 1, "first"), question("ada", 2, "second")
    await bus.publish(first)
    await bus.publish(second)
    async with asyncio.timeout(10):
        while not fake_model.requests:
            await asyncio.sleep(0.02)
    assert await flow.stop() == 0
    assert (await bus.stored_reply(first.user, first.id)) is not None
    assert (await bus.stored_reply(second.user, second.id)) is None
    fake_model.delay_s = 0
    flow.start()
    reply = await bus.reply_when_stored(second.user, second.id, timeout_s=30)
    assert reply is not None
    assert [m["content"] for m in fake_model.requests[-1]["messages"]][1::2] == ["first", "second"]
    assert await flow.stop() == 0


async def test_a_lost_recovery_store_is_rebuilt_from_the_stream_and_the_journal(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """Every conversation comes back, and the model is asked nothing again."""
    flow = dataflow(tmp_path / "home", nats.url, fake_model.base_url).start()
    await flow.ready()
    for number in range(3):
        for name in ("ada", "bob"):
            await answer_to(bus, question(name, number, f"{name} {number}"))
    assert await flow.stop() == 0
    shutil.rmtree(tmp_path / "home" / "dataflow")
    fake_model.requests.clear()
    flow.start()
    for name in ("ada", "bob"):
        await answer_to(bus, question(name, 3, f"{name} 3"))
        contents = [m["content"] for m in fake_model.requests[-1]["messages"]]
        assert contents[1::2] == [f"{name} {n}" for n in range(4)]
    assert len(fake_model.requests) == 2
    assert await flow.stop() == 0


async def test_a_full_disk_pauses_the_flow_and_ends_nothing(
    nats: NatsServer, bus: Bus, small_disk: Path, fake_model: FakeModel
) -> None:
    """Questions wait in the stream until there is room; told once and once when it is over."""
    flow = dataflow(small_disk / "home", nats.url, fake_model.base_url).start()
    await flow.ready()
    await answer_to(bus, question("ada", 0, "hello"))
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (60 << 20))
    async with asyncio.timeout(10):
        while not told(flow, "the disk is nearly full"):
            await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    waiting = asyncio.create_task(answer_to(bus, question("ada", 1, "full"), timeout_s=60))
    await asyncio.sleep(4)
    assert not waiting.done()
    ballast.unlink()
    assert (await waiting).outcome == "answered"
    assert flow.process is not None
    assert flow.process.poll() is None
    assert told(flow, "the disk is nearly full") == 1
    assert told(flow, "the disk has room again") == 1
    assert await flow.stop() == 0


async def test_a_disk_that_is_full_from_the_start_is_told_and_leaves_nothing_half_made(
    nats: NatsServer, bus: Bus, small_disk: Path, fake_model: FakeModel
) -> None:
    """Some of the recovery store's files would count as all of them."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * ((96 << 20) - 512 * 1024))
    flow = dataflow(small_disk / "home", nats.url, fake_model.base_url).start()
    assert flow.process is not None
    assert await asyncio.to_thread(flow.process.wait, 60) == CANNOT_START
    assert told(flow, "recovery cannot be created: the disk is full. Free some")
    assert "Traceback" not in flow.log.read_text()
    ballast.unlink()
    flow.start()
    await flow.ready()
    assert (await answer_to(bus, question("ada", 0, "hello"))).outcome == "answered"
    assert await flow.stop() == 0


async def test_a_journal_that_is_nearly_full_is_told_to_who_asks(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """Nobody waits in silence for an answer that would find no room; until there is some."""
    flow = dataflow(tmp_path / "home", nats.url, fake_model.base_url).start()
    await flow.ready()
    assert (await answer_to(bus, question("ada", 0, "hello"))).outcome == "answered"
    config = (await bus.js.stream_info(names.REPLIES)).config
    await bus.js.update_stream(config.evolve(max_bytes=1 << 20))
    for number in range(10):
        await bus.js.publish(f"replies.test.eve.ballast-{number}", b"x" * 100_000)
    async with asyncio.timeout(20):
        while not told(flow, "the stream of replies is nearly full"):
            await asyncio.sleep(0.05)
    for number in (1, 2):
        reply = await answer_to(bus, question("ada", number, "is there room?"))
        assert (reply.outcome, reply.text) == ("failed", NO_ROOM)
    assert len(fake_model.requests) == 1
    await bus.js.purge_stream(names.REPLIES, subject="replies.test.eve.>")
    async with asyncio.timeout(20):
        while not told(flow, "the stream of replies has room again"):
            await asyncio.sleep(0.05)
    assert (await answer_to(bus, question("ada", 3, "and now?"))).outcome == "answered"
    assert told(flow, "the stream of replies is nearly full") == 1
    assert await flow.stop() == 0


BREAKS_THE_PROTOCOL = """
import asyncio, sys
from shared.bus import Bus

async def main():
    bus = await Bus.connect(sys.argv[1], name="broken")
    bus.client._transport.write(b"GARBAGE\\r\\n")  # the server answers -ERR and closes
    await asyncio.sleep(30)

asyncio.run(main())
"""


def test_a_client_that_was_closed_for_good_ends_its_process(nats: NatsServer) -> None:
    """nats-py never recovers from an -ERR: a clear line, and the code that asks for a restart."""
    done = subprocess.run(
        [sys.executable, "-c", BREAKS_THE_PROTOCOL, nats.url],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == CLOSED_EXIT_CODE
    assert "nats client closed for good" in done.stdout + done.stderr


SETS_ITS_CLOCK_BACK = """
import os, sys, time

wall = time.time
time.time = lambda: wall() - float(os.path.exists(sys.argv[1]) and 300)
from dataflow.run import main
from shared.settings import Settings
raise SystemExit(main(Settings()))
"""


async def test_a_clock_set_back_starts_the_flow_afresh(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """Bytewax would wait until the clock is where it was; what was under way is answered after."""
    set_back = tmp_path / "set back"
    stepping = dataflow(tmp_path / "home", nats.url, fake_model.base_url)
    stepping.command = ("-c", SETS_ITS_CLOCK_BACK, str(set_back))
    stepping.start()
    fake_model.delay_s = 30.0
    waiting = question("ada", 0, "hello")
    await bus.publish(waiting)
    async with asyncio.timeout(30):
        while not fake_model.requests:
            await asyncio.sleep(0.02)
    set_back.touch()
    assert stepping.process is not None
    assert await asyncio.to_thread(stepping.process.wait, 30) == CLOSED_EXIT_CODE
    assert told(stepping, "the clock was set back") == 1
    fake_model.delay_s = 0
    flow = dataflow(tmp_path / "home", nats.url, fake_model.base_url).start()
    reply = await bus.reply_when_stored(waiting.user, waiting.id, timeout_s=30)
    assert reply is not None
    assert await flow.stop() == 0


CANNOT_READ_POISON = """
from dataflow import prompts_source
from dataflow.run import main
from shared.settings import Settings

event_of = prompts_source.event_of

def with_a_defect(data, user):
    if b"poison" in data:
        raise RuntimeError("a defect")
    return event_of(data, user)

prompts_source.event_of = with_a_defect
raise SystemExit(main(Settings()))
"""


async def test_a_message_that_meets_a_defect_is_put_aside_and_its_sender_is_told(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """It does not hold up the others of its partition, and is not met again after a restart."""
    flow = dataflow(tmp_path / "home", nats.url, fake_model.base_url)
    flow.command = ("-c", CANNOT_READ_POISON)
    flow.start()
    reply = await answer_to(bus, question("ada", 0, "poison"))
    assert (reply.outcome, reply.text) == ("refused", UNREADABLE.format(reason=DEFECT))
    assert (await answer_to(bus, question("ada", 1, "next"))).outcome == "answered"
    letter = await bus.js.get_last_msg(names.DLQ, "dlq.p.*.test.ada")
    assert (letter.headers or {})["Threadwax-Reason"] == DEFECT
    assert await flow.stop() == 0
    flow.start()
    assert (await answer_to(bus, question("ada", 2, "later"))).outcome == "answered"
    assert told(flow, "defect while reading a message") == 1
    assert await flow.stop() == 0
