"""Links with which others read a conversation or an answer, in a real browser."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.end_to_end.web_system import WebSystem, own_system
from tests.web_browser import Tab, browser

pytestmark = [pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WebSystem]:
    async with own_system(tmp_path_factory.mktemp("web"), THREADWAX_WEB_SHARING="on") as started:
        yield started


async def link_of(tab: Tab) -> str:
    """The link that the page shows once."""
    return str((await tab.find("[role=dialog] code")).text)


async def shows_nothing(tab: Tab) -> None:
    """Reloads the page until the recorder knows that the link shows nothing, within seconds."""
    for _ in range(5):
        await tab.reload()
        text = await tab.reads_one_of("This link shows nothing", "Shared with you")
        if "This link shows nothing" in text:
            return
    raise AssertionError(tab.text())


async def test_a_shared_conversation_is_read_as_it_was_until_it_is_revoked(
    system: WebSystem,
) -> None:
    system.model.reply = lambda request: f"heard {request['messages'][-1]['content']}"
    with browser() as own, browser() as other:
        ada = await Tab(own).open(system.address_of("ada"))
        await ada.say("before it is shared")
        await ada.answers(1)
        await ada.press("conversation")
        await ada.press("share")
        link = await link_of(ada)
        assert len(link.partition("shared=")[2]) >= 43  # 256 bits
        await ada.reload()
        await ada.say("after it was shared")
        await ada.answers(2)

        bob = await Tab(other).open(f"{link}&user=bob")
        text = await bob.reads("heard before it is shared", "Shared with you")
        assert "after it was shared" not in text
        assert "ada" not in text
        assert not other.find_elements("css selector", "[data-testid=stChatInput]")

        await ada.open(f"{system.address}/data?user=ada")
        await ada.press("revoke-*")
        await ada.reads("There are none.")
        await shows_nothing(bob)


async def test_one_answer_is_shared_alone_and_goes_when_it_is_deleted(system: WebSystem) -> None:
    system.model.reply = lambda request: f"heard {request['messages'][-1]['content']}"
    with browser() as own, browser() as other:
        eve = await Tab(own).open(system.address_of("eve"))
        await eve.say("first")
        await eve.answers(1)
        await eve.say("second")
        await eve.answers(2)
        await eve.press("share-*")
        link = await link_of(eve)
        bob = await Tab(other).open(f"{link}&user=bob")
        text = await bob.reads("heard second")
        assert "heard first" not in text
        await eve.reload()
        await eve.press("conversation")
        await eve.press("delete")
        await shows_nothing(bob)


async def test_a_link_that_nobody_made_shows_nothing(system: WebSystem) -> None:
    with browser() as driver:
        for token in ("x", "web-share-1", "' OR 1=1", "%", "a" * 43):
            tab = await Tab(driver).open(f"{system.address}/?user=bob&shared={token}")
            await tab.reads("This link shows nothing")
