"""The web page in a real browser, with the whole system behind it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from nats.js.api import ConsumerConfig

from shared.bus import Bus
from shared.names import PROMPTS
from tests.end_to_end.web_system import WebSystem, own_system
from tests.fakes.model import default_reply
from tests.web_browser import NARROW, Tab, browser

pytestmark = [pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]

RICH = (
    "Here is **bold** text.\n\n| tea | coffee |\n|---|---|\n| leaf | bean |\n\n"
    "```python\nprint('hello')\n```\n\nThe end."
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WebSystem]:
    """One for all: each test is a person of its own."""
    async with own_system(tmp_path_factory.mktemp("web")) as system:
        yield system


@pytest.fixture
def system(shared_system: WebSystem) -> WebSystem:
    """The system with a model that answers at once."""
    shared_system.model.reply = default_reply
    shared_system.model.piece_chars, shared_system.model.pause_s = 1 << 20, 0.0
    shared_system.model.may_finish = None
    return shared_system


async def test_an_answer_grows_visibly_and_is_shown_with_its_markdown(system: WebSystem) -> None:
    system.model.reply = lambda _: RICH
    system.model.piece_chars = 4
    system.model.may_finish = asyncio.Event()
    with browser() as driver:
        tab = await Tab(driver).open(system.address_of("ada"))
        await tab.reads("What shall we talk about?")
        await tab.say("Compare them.")
        seen = await tab.reads("Here is")
        assert "The end." not in seen
        system.model.may_finish.set()
        await tab.reads("print('hello')")  # Streamlit loads what draws code when it meets some
        (answer,) = await tab.answers(1)
        assert "The end." in answer
        assert await tab.find("[data-testid=stChatMessage] table")
        assert await tab.find("[data-testid=stChatMessage] pre code")
        await tab.reload()
        await tab.reads("print('hello')")
        assert await tab.answers(1) == [answer]


async def test_stop_keeps_the_beginning_and_again_answers_in_its_place(system: WebSystem) -> None:
    system.model.reply = lambda _: "never ending " * 500
    system.model.piece_chars, system.model.pause_s = 8, 0.1
    with browser() as driver:
        tab = await Tab(driver).open(system.address_of("bea"))
        await tab.say("Tell me everything.")
        await tab.reads("never ending")
        await tab.press("stop-*")
        await tab.reads("stopped")
        system.model.reply, system.model.pause_s = (lambda _: "In short: no."), 0.0
        await tab.press("again-*")
        await tab.reads("In short: no.")
        await tab.lacks("never ending")
        await tab.reload()
        text = await tab.reads("In short: no.", "New conversation")
        assert text.count("Tell me everything.") == 2  # the question, and the conversation's title


async def test_an_edited_question_is_answered_in_its_place(system: WebSystem) -> None:
    system.model.reply = lambda request: f"About {request['messages'][-1]['content']}"
    with browser() as driver:
        tab = await Tab(driver).open(system.address_of("cora"))
        await tab.say("cats")
        await tab.reads("About cats")
        await tab.press("edit-button-*")
        await tab.write("Your question", "dogs")
        await tab.press("ask-edited-*")
        await tab.reads("About dogs")
        await tab.lacks("About cats")


async def test_thumbs_and_their_reasons_are_stored_and_stay(system: WebSystem) -> None:
    with browser() as driver:
        tab = await Tab(driver).open(system.address_of("dora"))
        await tab.say("hello")
        await tab.answers(1)
        await tab.press("thumb-*")
        await tab.press("words-*")
        await tab.write("Why?", "It was too long.")
        await tab.press("say-*")
        await tab.reads("It is noted.")
        await tab.reload()
        await tab.answers(1)
        assert await tab.find("[class*=st-key-words-]")
    stored = await _stored(system)
    assert '"reason":"It was too long."' in stored


async def test_pictures_and_text_files_reach_the_model(system: WebSystem, tmp_path: Path) -> None:
    note, picture = tmp_path / "note.txt", tmp_path / "dot.png"
    note.write_text("the code word is heron")
    picture.write_bytes(DOT)
    with browser() as driver:
        tab = await Tab(driver).open(system.address_of("eva"))
        await tab.attach(note, picture)
        await tab.say("What do you see?")
        await tab.answers(1)
        await tab.reads("note.txt, dot.png")
    request = str(system.model.requests[-1]["messages"][-1])
    assert "the code word is heron" in request
    assert "data:image/png;base64," in request


async def test_conversations_have_titles_and_can_be_renamed_and_deleted(system: WebSystem) -> None:
    with browser() as driver:
        tab = await Tab(driver).open(system.address_of("fay"))
        await tab.say("first *question*")
        await tab.answers(1)
        await tab.press("new")
        await tab.reads("What shall we talk about?")
        await tab.say("second question")
        await tab.answers(1)
        await tab.reads("first *question*", "second question")
        await tab.press("conversation")
        await tab.write("Title", "Renamed by me")
        await tab.reads("Renamed by me")
        await tab.press("delete")
        await tab.lacks("Renamed by me", "second question")
        await tab.press("open-*")
        await tab.answers(1)
        await tab.reload()
        text = await tab.reads("first *question*")
        assert "second question" not in text


async def test_several_tabs_show_the_same_and_people_stay_apart(system: WebSystem) -> None:
    with browser() as driver, browser() as other:
        one = await Tab(driver).open(system.address_of("gia"))
        await one.say("my secret is 1848")
        await one.answers(1)
        address = driver.current_url
        two = await one.another(address)
        assert len(await two.answers(1)) == 1
        await two.say("and another one")
        await one.answers(2)
        bob = await Tab(other).open(system.address_of("bob"))
        await bob.reads("What shall we talk about?")
        # Even at the address of somebody else's conversation.
        await bob.open(address.replace("user=gia", "user=bob"))
        text = await bob.reads("What shall we talk about?")
        assert "1848" not in text


async def test_nothing_is_loaded_from_elsewhere_not_even_a_models_picture(
    system: WebSystem,
) -> None:
    elsewhere = system.model.base_url.replace("127.0.0.1", "localhost") + "/spy.png?words=secret"
    system.model.reply = lambda _: f"Look: ![picture]({elsewhere}) and <img src={elsewhere}>"
    with browser() as driver:
        tab = await Tab(driver).open(system.address_of("hedy"))
        await tab.say("Show me.")
        await tab.answers(1)
        await tab.until(
            lambda: any("Content Security Policy" in line["message"]
                        for line in driver.get_log("browser"))
        )  # fmt: skip
        own = (system.address, "data:", "blob:")
        foreign = [one for one in tab.requested() if not one.startswith(own) and one != elsewhere]
        assert foreign == []


async def test_everything_works_by_keyboard_on_a_narrow_screen(system: WebSystem) -> None:
    with browser(size=NARROW) as driver:
        tab = await Tab(driver).open(system.address_of("ida"))
        await tab.say("hello")
        await tab.answers(1)
        wide = driver.execute_script("return document.documentElement.scrollWidth")
        assert wide <= NARROW[0]
        unnamed = driver.execute_script(
            "return [...document.querySelectorAll('button,input,textarea')]"
            ".filter(e => e.checkVisibility() && !(e.innerText || e.ariaLabel || e.title"
            " || e.placeholder || (e.labels && e.labels.length))).map(e => e.outerHTML)"
        )
        assert unnamed == []


async def _stored(system: WebSystem) -> str:
    bus = await Bus.connect(system.server.url, name="test")
    try:
        info = await bus.js.stream_info(PROMPTS)
        found = await bus.js.pull_subscribe("", stream=PROMPTS, config=ConsumerConfig())
        messages = await found.fetch(info.state.messages)
        return "\n".join(message.data.decode() for message in messages)
    finally:
        await bus.close()


DOT = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360f8cfc0f01f00050001ffa7a3d4a90000000049454e44ae426082"
)
