"""The web page while processes behind it are killed, and the network is away."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from shared import names, user_names
from shared.bus import Bus
from tests.end_to_end.web_system import WebSystem, own_system
from tests.fakes.model import default_reply
from tests.fakes.tcp_proxy import TcpProxy
from tests.web_browser import Tab, browser

pytestmark = [pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WebSystem]:
    """One for all: each test is a person of its own, and leaves every process running."""
    async with own_system(tmp_path_factory.mktemp("web")) as system:
        yield system


@pytest.fixture
def system(shared_system: WebSystem) -> WebSystem:
    """The system with a model that answers at once."""
    shared_system.model.reply = default_reply
    shared_system.model.piece_chars, shared_system.model.pause_s = 1 << 20, 0.0
    return shared_system


def write_slowly(system: WebSystem) -> None:
    system.model.reply = lambda _: "one two three four five six seven eight nine ten, the end"
    system.model.piece_chars, system.model.pause_s = 2, 0.2


@pytest.mark.parametrize("killed", ["web", "flow", "recorder"])
async def test_an_answer_comes_once_though_a_process_is_killed_while_it_grows(
    system: WebSystem, killed: str
) -> None:
    write_slowly(system)
    with browser() as driver:
        tab = await Tab(driver).open(system.address_of(f"ada-{killed}"))
        await tab.say("Count, please.")
        await tab.reads("one two")
        if killed == "web":
            system.web.kill()
            system.start_web()
            await system.web_ready()
        else:
            getattr(system, killed).kill()
            getattr(system, killed).start()
        (answer,) = await tab.answers(1)
        assert answer.count("the end") == 1
        assert (await tab.reads("Count, please.")).count("the end") == 1
        await tab.reload()
        assert len(await tab.answers(1)) == 1
    assert await _stored(system, f"ada-{killed}") == (1, 1)


async def test_a_question_that_nats_does_not_take_is_kept_and_can_be_sent_again(
    system: WebSystem, tmp_path: Path
) -> None:
    note = tmp_path / "note.txt"
    note.write_text("the code word is heron")
    with browser() as driver:
        tab = await Tab(driver).open(system.address_of("bea"))
        await tab.reads("What shall we talk about?")
        await asyncio.to_thread(system.server.stop)
        await tab.attach(note)
        await tab.say("Is anybody there?")
        await tab.reads("Not sent", "Is anybody there?", "note.txt")
        await asyncio.to_thread(system.server.start)
        # NATS may have stored it at the first attempt, so that its answer comes before the press.
        await tab.press("resend-*", unless="[data-testid=stFeedback]")
        (answer,) = await tab.answers(1)
        await tab.lacks("Not sent")
    assert answer
    assert "the code word is heron" in str(system.model.requests[-1]["messages"])
    assert await _stored(system, "bea") == (1, 1)


async def test_a_page_goes_on_after_its_network_was_away(system: WebSystem) -> None:
    write_slowly(system)
    proxy = await TcpProxy.start(system.address)
    try:
        with browser() as driver:
            tab = await Tab(driver).open(proxy.url(system.address_of("cora")))
            await tab.say("Count, please.")
            await tab.reads("one two")
            proxy.pause()
            await asyncio.sleep(1)
            proxy.reset()
            proxy.resume()
            (answer,) = await tab.answers(1)
            assert answer.count("the end") == 1
            await tab.say("And again.")
            await tab.answers(2)
    finally:
        await proxy.stop()
    assert await _stored(system, "cora") == (2, 2)


async def test_earlier_conversations_appear_once_the_recorder_answers(system: WebSystem) -> None:
    with browser() as driver:
        tab = await Tab(driver).open(system.address_of("dora"))
        await tab.say("Remember the heron.")
        await tab.answers(1)
        await tab.press("new")
        system.recorder.kill()
        system.web.kill()
        system.start_web()
        await system.web_ready()
        await tab.reload()
        await tab.reads("Earlier conversations cannot be shown now")
        system.recorder.start()
        await tab.reads("Remember the heron.")
        await tab.lacks("Earlier conversations cannot be shown now")


async def _stored(system: WebSystem, name: str) -> tuple[int, int]:
    """How many events and replies of this person there are."""
    user = user_names.user_of("web", name)
    bus = await Bus.connect(system.server.url, name="test")
    try:
        found = []
        for stream, subjects in (
            (names.PROMPTS, names.stored_prompts_of(user)),
            (names.REPLIES, names.replies_to_user(user)),
        ):
            info = await bus.js.stream_info(stream, subjects_filter=subjects)
            found.append(sum((info.state.subjects or {}).values()))
    finally:
        await bus.close()
    return found[0], found[1]
