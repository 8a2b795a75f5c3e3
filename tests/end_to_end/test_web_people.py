"""The dashboard, a person's own data, and linked accounts, in a real browser."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from shared.bus import Bus
from shared.messages import Ask, Place
from tests.end_to_end.web_system import WebSystem, own_system
from tests.running import answer_to
from tests.web_browser import Tab, browser

pytestmark = [pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WebSystem]:
    home = tmp_path_factory.mktemp("web")
    async with own_system(home, THREADWAX_LINK_ACCOUNTS="on") as started:
        yield started


def card(tab: Tab, label: str) -> str:
    """The number on a card of the dashboard."""
    for one in tab.driver.find_elements("css selector", "[data-testid=stMetric]"):
        name, _, value = one.text.partition("\n")
        if name == label:
            return value.strip()
    return ""


async def test_the_dashboard_shows_new_messages_by_itself(system: WebSystem) -> None:
    with browser() as own, browser() as operators:
        ada = await Tab(own).open(system.address_of("ada"))
        await ada.say("a red heron")
        await ada.answers(1)
        page = await Tab(operators).open(f"{system.address}/dashboard?user=operator")
        await page.until(lambda: card(page, "Messages") == "1")
        assert card(page, "People") == "1"
        await ada.say("two")
        await ada.answers(2)
        await page.until(lambda: card(page, "Messages") == "2")
        assert "heron" not in await page.reads("Dead letters")


async def test_a_person_gets_their_data_and_has_it_erased(system: WebSystem) -> None:
    with browser() as driver:
        tab = await Tab(driver).open(system.address_of("eve"))
        await tab.say("my cat is called Tom")
        await tab.answers(1)
        await tab.open(f"{system.address}/usage?user=eve")
        await tab.until(lambda: card(tab, "Questions") == "1")
        await tab.open(f"{system.address}/data?user=eve")
        await tab.press("export")
        await tab.find("[class*=st-key-download] button")
        sure = await tab.find("[class*=st-key-sure] label")
        await tab.until(lambda: sure.click() or True)
        await tab.find("[class*=st-key-forget] button:enabled")
        await tab.press("forget")
        await tab.reads("is being erased")
        await tab.open(system.address_of("eve"))
        await tab.lacks("my cat is called Tom")
        await tab.reads("What shall we talk about?")


async def test_an_account_of_another_app_is_linked_on_the_page(system: WebSystem) -> None:
    bus = await Bus.connect(system.server.url, name="test")
    try:
        await answer_to(bus, from_slack(1, "my dog is called Rex"))
        with browser() as driver:
            tab = await Tab(driver).open(system.address_of("ida"))
            await tab.say("link accounts")
            code = (await tab.find("[data-testid=stChatMessage] code")).text
            assert "yes" in (await answer_to(bus, from_slack(2, code))).text
            assert "Done" in (await answer_to(bus, from_slack(3, f"{code} yes"))).text
            await asyncio.sleep(STORED_S)
            await tab.say("What is my dog called?")
            await tab.answers(2)
            assert "Rex" in str(system.model.requests[-1]["messages"])
            await tab.say("unlink accounts")
            await tab.reads("no longer linked")
            await tab.say("And now?")
            await tab.answers(4)
            assert "Rex" not in str(system.model.requests[-1]["messages"])
    finally:
        await bus.close()


STORED_S = 1.3
"""Other accounts are read from the store, which conversations reach within a second."""


def from_slack(number: int, text: str) -> Ask:
    place = Place(platform="slack", channel="D1", audience="direct")
    return Ask(
        id=f"slack-{number}", user="slack:U1", place=place, said_at=datetime.now(UTC), text=text
    )
