"""Discord as a person sees it, with adapter, NATS and dataflow as processes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from bots.no_progress import NO_PROGRESS
from ops.nats_server import NatsServer
from tests.end_to_end.discord_system import System
from tests.fakes.discord_shapes import THINKING
from tests.fakes.model import FakeModel, Fault

QUIET_S = 1.0


@pytest.fixture
async def system(nats: NatsServer, fake_model: FakeModel, tmp_path: Path) -> AsyncIterator[System]:
    """The whole system, running."""
    async with System(nats, fake_model, tmp_path, THREADWAX_HTTP_PORT="0") as system:
        yield system


async def test_a_thread_continues_without_mentions(system: System) -> None:
    """A mention opens a thread, which needs no further mention and remembers the first question."""
    fake = system.fake
    message = await fake.say("my name is Ada", mention=True)
    await system.answered(message)
    await fake.say("what is my name?", channel=message)
    await system.answered(message, count=2)
    assert "my name is Ada" in str(system.model.requests[-1])
    assert len(system.finished(message)) == 2


async def test_direct_messages_stay_out_of_channels(system: System) -> None:
    """No request for a channel contains text from a direct message."""
    fake = system.fake
    direct = await fake.direct()
    await fake.say("my PIN is 4711", channel=direct)
    await fake.until(lambda: fake.read(direct))
    message = await fake.say("what is my PIN?", mention=True)
    await system.answered(message)
    assert "4711" not in str(system.model.requests[-1])


async def test_messages_of_a_private_thread_stay_there(system: System) -> None:
    """Requests for its public parent channel or for other threads do not contain them."""
    fake = system.fake
    one = await fake.private_thread("salaries", "ada", "self")
    other = await fake.private_thread("plans", "ada", "bob", "self")
    await fake.say("my salary is 41000", mention=True, channel=one)
    await fake.until(lambda: any(t.startswith("answer") for t in fake.read(one)))
    for channel in (other, fake.general):
        message = await fake.say("what do you know about me?", mention=True, channel=channel)
        await fake.until(
            lambda m=message, c=channel: any(
                "answer" in t for t in fake.replies_to(m) + fake.read(c)
            )
        )
        assert "41000" not in str(system.model.requests[-1])
    await fake.say("what is my salary?", mention=True, channel=one)
    await fake.until(lambda: len([t for t in fake.read(one) if t.startswith("answer")]) == 2)
    assert "41000" in str(system.model.requests[-1])


async def test_an_answer_to_somebody_else_can_be_asked_about(system: System) -> None:
    """The model gets the messages above Bob's question as data."""
    fake = system.fake
    system.model.reply = lambda _: "Wax is not polar."
    message = await fake.say("why?", mention=True)
    await system.answered(message)
    await fake.say("explain that", channel=message, author="bob")
    await system.answered(message, count=2)
    asked = str(system.model.requests[-1]["messages"][-1]["content"])
    assert "Wax is not polar." in asked
    assert asked.index("<quoted>") < asked.index("Wax is not polar.") < asked.index("</quoted>")
    assert asked.endswith("explain that")


async def test_a_failure_notice_has_a_button_to_ask_again(system: System) -> None:
    """The button also identifies the notice among identical ones after a crash."""
    system.model.always = Fault(status=400, error={"message": "broken"})
    message = await system.fake.say("hello", mention=True)
    await system.answered(message)
    (notice,) = system.fake.posts(message)
    assert "tw:again:" in str(notice["components"])


async def test_a_permanent_model_failure_leads_to_one_notice(system: System) -> None:
    """The notice appears in the same place in plain words. The next question is answered."""
    system.model.always = Fault(status=400, error={"message": "broken"})
    message = await system.fake.say("hello", mention=True)
    await system.answered(message)
    (notice,) = system.finished(message)
    assert "broken" not in notice
    assert "Traceback" not in notice
    system.model.always = None
    await system.fake.say("again?", channel=message)
    await system.answered(message, count=2)
    assert system.finished(message)[1].startswith("answer")


async def test_a_command_is_answered_where_it_was_used(system: System) -> None:
    """The placeholder is replaced by the answer."""
    await system.fake.command("ask", question="what is wax?")
    await system.fake.until(lambda: any(t.startswith("answer") for t in system.fake.read()))
    assert THINKING not in system.fake.read()
    assert len(system.fake.read()) == 1


async def test_a_command_survives_a_kill(system: System) -> None:
    """The adapter is killed while the model works; the next process fills the placeholder."""
    system.model.delay_s = 1.5
    await system.fake.command("ask", question="what is wax?")
    await system.fake.until(lambda: system.fake.read() == [THINKING])
    system.adapter.kill()
    system.start()
    await system.fake.until(lambda: any(t.startswith("answer") for t in system.fake.read()))
    await asyncio.sleep(QUIET_S)
    assert len(system.fake.read()) == 1


async def test_a_stop_keeps_the_text_so_far(system: System) -> None:
    """The button below a growing answer stops it, and the cursor disappears."""
    system.model.reply = lambda _: "word " * 400
    system.model.piece_chars, system.model.pause_s = 5, 0.02
    message = await system.fake.say("count", mention=True)
    await system.fake.until(lambda: bool(system.fake.replies_to(message)))
    (preview,) = system.fake.posts(message)
    await system.fake.click(int(preview["id"]), "stop")
    await system.answered(message)
    (text,) = system.finished(message)
    assert 0 < text.count("word") < 400


async def test_a_deleted_question_leaves_no_answer(system: System) -> None:
    """The preview is deleted, too."""
    system.model.reply = lambda _: "word " * 400
    system.model.piece_chars, system.model.pause_s = 5, 0.02
    message = await system.fake.say("count", mention=True)
    await system.fake.until(lambda: bool(system.fake.read(message)))
    await system.fake.delete(message)
    await system.fake.until(lambda: not system.fake.read(message))
    await asyncio.sleep(QUIET_S)
    assert system.fake.read(message) == []


async def test_an_outage_of_nats_loses_no_message(system: System) -> None:
    """Messages that are sent during the outage are answered afterwards."""
    system.server.kill()
    messages = [await system.fake.say(f"question {n}", mention=True) for n in range(3)]
    await asyncio.sleep(QUIET_S)
    await asyncio.to_thread(system.server.start)
    await system.answered(*messages)
    assert [len(system.finished(m)) for m in messages] == [1, 1, 1]


async def test_the_adapter_stops_cleanly_and_logs_no_message_text(system: System) -> None:
    """SIGTERM closes the session, and the exit code is 0. The log contains no text and no token."""
    message = await system.fake.say("a-secret-word", mention=True)
    await system.answered(message)
    assert await system.adapter.stop() == 0
    assert not system.fake.gateway.live
    logs = system.logs()
    assert "a-secret-word" not in logs
    assert system.fake.token not in logs
    assert '"event":"received"' in logs


async def test_readyz_follows_the_connection(
    nats: NatsServer, fake_model: FakeModel, tmp_path: Path, unused_tcp_port: int
) -> None:
    """/readyz responds with 200 if the adapter is connected, and with 503 if not."""
    port = str(unused_tcp_port)
    async with (
        System(nats, fake_model, tmp_path, THREADWAX_HTTP_PORT=port) as system,
        aiohttp.ClientSession() as http,
    ):
        async with http.get(f"http://127.0.0.1:{port}/readyz") as page:
            assert page.status == 200, await page.text()
        system.fake.gateway.refuse_resumes = True
        system.fake.gateway.drop()
        async with asyncio.timeout(10):
            while True:
                async with http.get(f"http://127.0.0.1:{port}/readyz") as page:
                    if page.status == 503:
                        break
                await asyncio.sleep(0.05)


async def test_while_the_dataflow_is_down_people_see_that_their_questions_are_stored(
    system: System,
) -> None:
    """The note below each question disappears before its answer; the answers come in order."""
    fake = system.fake
    system.flow.kill()
    direct = await fake.direct()
    for word in ("one", "two"):
        await fake.say(f"{word}?", channel=direct)
    await fake.until(lambda: len(fake.read(direct)) == 2, seconds=60)
    assert all(NO_PROGRESS in text for text in fake.read(direct))
    system.flow.start()
    await fake.until(lambda: not any("▌" in text for text in fake.read(direct)), seconds=60)
    await fake.until(lambda: len(fake.read(direct)) == 2, seconds=60)
    assert [system.model.requests[n]["messages"][-1]["content"] for n in (-2, -1)] == [
        "one?",
        "two?",
    ]
    shown = [int(message["id"]) for message in fake.posts(direct)]
    assert shown == sorted(shown)
