"""Outages of NATS, the model and the disk: no process ends, nothing is lost, one log line each."""

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataflow.answer import NO_ROOM
from dataflow.partitions.reader import DEFECT, UNREADABLE
from ops.nats_server import NatsServer
from shared import names
from shared.bus import Bus
from shared.connection import CLOSED_EXIT_CODE
from tests.fakes.model import FakeModel
from tests.full_disk import fill
from tests.running import ROOT, Running, answer_to, dataflow, question

AWAY_S = 8.0


@contextmanager
def model_process(*options: str) -> Iterator[str]:
    """The fake model as a process of its own, which keeps running while others are suspended."""
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


def times_logged(flow: Running, words: str) -> int:
    """How often the log contains a text."""
    return flow.log.read_text(errors="replace").count(words)


async def test_an_outage_of_nats_loses_no_answer(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """An answer in progress is journaled once the server is back; the conversation continues."""
    flow = dataflow(tmp_path / "home", nats.url, fake_model.base_url).start()
    await flow.ready()
    await answer_to(bus, question("ada", 0, "hello"))
    fake_model.delay_s = 1.0
    in_progress = question("ada", 1, "under way")
    await bus.publish(in_progress)
    await asyncio.sleep(0.5)
    nats.stop()
    await asyncio.sleep(AWAY_S)
    nats.start()
    reply = await bus.reply_when_stored(in_progress.user, in_progress.id, timeout_s=30)
    assert reply is not None
    assert reply.outcome == "answered"
    fake_model.delay_s = 0
    await answer_to(bus, question("ada", 2, "next"))
    assert len(fake_model.requests[-1]["messages"]) == 6
    assert flow.process is not None
    assert flow.process.poll() is None
    assert (times_logged(flow, "nats lost"), times_logged(flow, "nats is back")) == (1, 1)
    assert await flow.stop() == 0


async def test_a_suspended_process_still_completes_its_answer(
    nats: NatsServer, bus: Bus, tmp_path: Path
) -> None:
    """The suspension takes longer than the model is allowed to be silent."""
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


async def test_a_start_before_nats_waits_for_it(
    nats: NatsServer, tmp_path: Path, fake_model: FakeModel
) -> None:
    """The wait is logged once."""
    nats.stop()
    flow = dataflow(tmp_path / "home", nats.url, fake_model.base_url).start()
    async with asyncio.timeout(30):
        while not times_logged(flow, "waiting for nats"):
            await asyncio.sleep(0.05)
    await asyncio.sleep(2)
    assert times_logged(flow, "waiting for nats") == 1
    nats.start()
    await flow.ready()
    bus = await Bus.connect(nats.url, name="test")
    assert (await answer_to(bus, question("ada", 0, "hello"))).outcome == "answered"
    await bus.close()
    assert await flow.stop() == 0


async def test_a_stop_while_waiting_for_nats_is_immediate(
    nats: NatsServer, tmp_path: Path, fake_model: FakeModel
) -> None:
    """The process has nothing to finish."""
    nats.stop()
    flow = dataflow(tmp_path / "home", nats.url, fake_model.base_url).start()
    async with asyncio.timeout(30):
        while not times_logged(flow, "waiting for nats"):
            await asyncio.sleep(0.05)
    started = asyncio.get_running_loop().time()
    assert await flow.stop() == 0
    assert asyncio.get_running_loop().time() - started < 5


async def test_an_outage_of_the_model_loses_no_question(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """Many users' questions wait; the beginning and the end of the outage are logged once each."""
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
    assert times_logged(flow, "the model does not answer") == 1
    assert times_logged(flow, "the model answers again") == 1
    assert await flow.stop() == 0


async def test_a_stop_waits_for_the_current_answer_and_keeps_later_questions(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """SIGTERM comes during an answer; the question after it is answered after the restart."""
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


async def test_a_lost_store_is_rebuilt_from_the_stream_and_the_journal(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """Every conversation is complete, and no question is asked again."""
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


async def test_answers_go_on_while_the_disk_is_full(
    nats: NatsServer, bus: Bus, small_disk: Path, fake_model: FakeModel
) -> None:
    """Conversations are stored once there is room; that they cannot be is logged once."""
    flow = dataflow(small_disk / "home", nats.url, fake_model.base_url)
    flow.log = small_disk.parent / "flow.log"
    await flow.start().ready()
    await answer_to(bus, question("ada", 0, "ada 0"))
    fill(small_disk / "ballast")
    for number in (1, 2):
        for name in ("ada", "bob"):
            reply = await answer_to(bus, question(name, number, f"{name} {number}"))
            assert reply.outcome == "answered"
    async with asyncio.timeout(30):
        while not times_logged(flow, "the store of conversations cannot be used"):
            await asyncio.sleep(0.05)
    assert "full" in flow.log.read_text()
    # Somebody new is read from the store, which is not the end of the outage.
    await answer_to(bus, question("eve", 1, "eve 1"))
    await answer_to(bus, question("ada", 3, "ada 3"))
    (small_disk / "ballast").unlink()
    async with asyncio.timeout(30):
        while not times_logged(flow, "SAY the store of conversations works again"):
            await asyncio.sleep(0.05)
    assert flow.process is not None
    assert flow.process.poll() is None
    assert times_logged(flow, "SAY the store of conversations cannot be used") == 1
    assert await flow.stop() == 0
    flow.start()
    for name, numbers in (("ada", range(5)), ("bob", range(1, 4))):
        last = numbers[-1]
        await answer_to(bus, question(name, last, f"{name} {last}"))
        contents = [m["content"] for m in fake_model.requests[-1]["messages"]]
        assert contents[1::2] == [f"{name} {number}" for number in numbers]
    assert await flow.stop() == 0


async def test_a_start_on_a_full_disk_waits_for_room(
    nats: NatsServer, bus: Bus, small_disk: Path, fake_model: FakeModel
) -> None:
    """It says what it waits for, once, and leaves no partial store."""
    home = small_disk / "home"
    flow = dataflow(home, nats.url, fake_model.base_url)
    flow.log = small_disk.parent / "flow.log"
    fill(small_disk / "ballast")
    flow.start()
    async with asyncio.timeout(60):
        while not times_logged(flow, "SAY waiting for the store of conversations"):
            await asyncio.sleep(0.05)
    await asyncio.sleep(2)
    assert times_logged(flow, "SAY waiting for the store of conversations") == 1
    assert "full" in flow.log.read_text()
    assert "Traceback" not in flow.log.read_text()
    (small_disk / "ballast").unlink()
    await flow.ready()
    assert (await answer_to(bus, question("ada", 0, "hello"))).outcome == "answered"
    assert await flow.stop() == 0


async def test_people_who_ask_are_told_that_the_journal_is_nearly_full(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """Their questions get a notice instead of an answer that could not be stored."""
    flow = dataflow(tmp_path / "home", nats.url, fake_model.base_url).start()
    await flow.ready()
    assert (await answer_to(bus, question("ada", 0, "hello"))).outcome == "answered"
    config = (await bus.js.stream_info(names.REPLIES)).config
    await bus.js.update_stream(config.evolve(max_bytes=1 << 20))
    for number in range(10):
        await bus.js.publish(f"replies.test.eve.ballast-{number}", b"x" * 100_000)
    async with asyncio.timeout(20):
        while not times_logged(flow, "the stream of replies is nearly full"):
            await asyncio.sleep(0.05)
    for number in (1, 2):
        reply = await answer_to(bus, question("ada", number, "is there room?"))
        assert (reply.outcome, reply.text) == ("failed", NO_ROOM)
    assert len(fake_model.requests) == 1
    await bus.js.purge_stream(names.REPLIES, subject="replies.test.eve.>")
    async with asyncio.timeout(20):
        while not times_logged(flow, "the stream of replies has room again"):
            await asyncio.sleep(0.05)
    assert (await answer_to(bus, question("ada", 3, "and now?"))).outcome == "answered"
    assert times_logged(flow, "the stream of replies is nearly full") == 1
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


def test_a_nats_client_that_is_closed_for_good_ends_its_process(nats: NatsServer) -> None:
    """nats-py never recovers from an -ERR, so the exit code asks the supervisor for a restart."""
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


async def test_answers_go_on_after_the_clock_was_set_back(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """For as long as the clock shows an earlier time, too. Only Python's clock is set here."""
    set_back = tmp_path / "set back"
    flow = dataflow(tmp_path / "home", nats.url, fake_model.base_url)
    flow.command = ("-c", SETS_ITS_CLOCK_BACK, str(set_back))
    await flow.start().ready()
    fake_model.may_finish = asyncio.Event()
    waiting = asyncio.create_task(answer_to(bus, question("ada", 0, "ada 0")))
    async with asyncio.timeout(30):
        while not fake_model.requests:
            await asyncio.sleep(0.02)
    set_back.touch()
    fake_model.may_finish.set()
    assert (await waiting).outcome == "answered"
    assert (await answer_to(bus, question("ada", 1, "ada 1"))).outcome == "answered"
    await asyncio.sleep(2)
    flow.kill()
    flow.log.unlink()
    await flow.start().ready()
    assert (await answer_to(bus, question("ada", 2, "ada 2"))).outcome == "answered"
    contents = [m["content"] for m in fake_model.requests[-1]["messages"]]
    assert contents[1::2] == [f"ada {number}" for number in range(3)]
    assert len(fake_model.requests) == 3
    assert await flow.stop() == 0


CANNOT_READ_POISON = """
from dataflow.partitions import reader
from dataflow.run import main
from shared.settings import Settings

event_of = reader.event_of

def with_a_defect(data, user):
    if b"poison" in data:
        raise RuntimeError("a defect")
    return event_of(data, user)

reader.event_of = with_a_defect
raise SystemExit(main(Settings()))
"""


async def test_a_message_that_triggers_a_defect_becomes_a_dead_letter(
    nats: NatsServer, bus: Bus, tmp_path: Path, fake_model: FakeModel
) -> None:
    """The sender gets a notice, the partition continues, and a restart does not read it again."""
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
    assert times_logged(flow, "defect while reading a message") == 1
    assert await flow.stop() == 0
