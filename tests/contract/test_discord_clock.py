"""The adapter uses Discord's clock, and notices a gateway that is silent but not closed."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest

from bots.discord import client as client_module
from bots.discord.clock import AHEAD_S, HOLDS_S, DiscordClock, seconds_of, snowflake_at
from bots.discord.store import Store
from bots.platform import Part
from shared.messages import Ask
from tests.contract.worlds.discord import DiscordWorld
from tests.contract.worlds.world import answer
from tests.fakes.discord import FakeDiscord

QUIET_S = 0.5
SKEWS_S = [-300.0, 300.0, -90_000.0, 90_000.0]
"""How far Discord's clock is ahead of this machine's: some minutes, and more than a day."""


def texts(world: DiscordWorld) -> list[str]:
    return [event.text for event in world.heard if isinstance(event, Ask)]


@pytest.fixture(params=SKEWS_S)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[DiscordWorld]:
    """Discord, seen from a machine whose clock is wrong."""
    async with DiscordWorld(fake=FakeDiscord(clock_ahead_s=request.param)) as world:
        yield world


async def test_messages_during_a_restart_are_read(world: DiscordWorld) -> None:
    """This holds even if the restart follows soon after connecting, with no earlier messages."""
    fake = world.fake
    await world.disconnect()
    await fake.say("missed at once", mention=True)
    await world.connect()
    await world.until_heard(1)
    await world.disconnect()
    await fake.say("missed again", mention=True)
    await world.connect()
    await world.until_heard(2)
    await asyncio.sleep(QUIET_S)
    assert texts(world) == ["missed at once", "missed again"]


async def test_a_lost_session_is_read_back(world: DiscordWorld) -> None:
    """The watermark stays below messages that Discord has not delivered yet."""
    fake = world.fake
    await fake.say("before", mention=True)
    await world.until_heard(1)
    fake.gateway.refuse_resumes = True
    fake.gateway.drop()
    fake.gateway.sessions.clear()
    await fake.say("missed", mention=True)
    await world.until_heard(2)
    assert texts(world) == ["before", "missed"]


async def test_the_answer_to_a_command_fills_its_placeholder(world: DiscordWorld) -> None:
    """Its token is valid for 15 minutes by Discord's clock."""
    fake = world.fake
    await fake.command("ask", question="wax?")
    await world.until_heard(1)
    await world.platform.post(Part(answer(world.heard[0], "sticky"), "sticky", 0, 1))
    assert fake.read() == ["sticky"]
    message = await fake.say("thread?")
    await fake.edit(message, f"<@{fake.application_id}> thread?")
    await world.until_heard(2)
    assert texts(world) == ["wax?", "thread?"]


async def test_a_recent_part_is_found_by_its_nonce(world: DiscordWorld) -> None:
    """Older parts are found by a search."""
    fake = world.fake
    await fake.say("wax?", mention=True)
    await world.until_heard(1)
    whole = answer(world.heard[0], f"{'x' * 1990}\n\n{'y' * 1990}")
    part = Part(whole, "x" * 1990, 0, 2)
    receipt = await world.platform.post(part)
    assert await world.platform.find_posted(part) is None
    assert await world.platform.post(part) == receipt
    fake.clock_ahead_s += 100
    await fake.say("the clock is told", mention=True)
    await world.until_heard(2)
    assert await world.platform.find_posted(part) == receipt


def test_discords_time_comes_from_dates_and_ids() -> None:
    """The later of the two counts; the local clock is used only until one of them is known."""
    monotonic, local = [100.0], [5_000_000_000.0]
    clock = DiscordClock(lambda: monotonic[0], lambda: local[0])
    assert clock.now() == 5_000_000_000.0
    clock.saw_date("Thu, 26 Nov 2026 10:00:00 GMT")
    at = 1_795_687_200.0
    assert clock.now() == at
    monotonic[0] += 60
    assert clock.now() == at + 60
    clock.saw_id(snowflake_at(at + 61.5))
    assert clock.now() == at + 61.5
    assert clock.age_s(snowflake_at(at)) == 61.5
    clock.saw_date("Thu, 26 Nov 2026 09:00:00 GMT")
    assert clock.now() == at + 61.5
    for header in (None, "", "yesterday", "0"):
        clock.saw_date(header)
    assert clock.now() == at + 61.5
    local[0] = 0.0
    assert clock.utcnow().timestamp() == at + 61.5


def test_an_id_from_the_future_does_not_change_the_time() -> None:
    """It may arrive before or after the first date."""
    at = 1_795_687_200.0
    for far_s in (60.0, 86_400.0, 1e9, 1e11):
        clock = DiscordClock(lambda: 100.0, lambda: at)
        clock.saw_id(snowflake_at(at + far_s))
        assert clock.now() == at
        clock.saw_date("Thu, 26 Nov 2026 10:00:00 GMT")
        clock.saw_id(snowflake_at(at + far_s))
        assert clock.now() == at
        assert snowflake_at(at) < clock.newest() < snowflake_at(at + 5)


def test_a_clock_that_runs_fast_makes_no_new_id_seem_old() -> None:
    """By 20 millionths, for three days. What seems older than 4 s is ignored as too late."""
    start = 1_795_687_200
    passed = [0.0]
    clock = DiscordClock(lambda: passed[0] * (1 + 20e-6), lambda: 0.0)
    for minute in range(3 * 24 * 60):
        passed[0] = 60.0 * minute
        clock.saw_date(
            format_datetime(datetime.fromtimestamp(start + 60 * minute, UTC), usegmt=True)
        )
        clock.saw_id(snowflake_at(start + passed[0]))
    assert clock.age_s(snowflake_at(start + passed[0])) < 1.0


def test_one_id_that_is_ahead_does_not_count_forever() -> None:
    at = 1_795_687_200.0
    passed = [0.0]
    clock = DiscordClock(lambda: passed[0], lambda: at + passed[0])
    clock.saw_id(snowflake_at(at + AHEAD_S - 1))
    for hours in range(1, 4):
        passed[0] = hours * HOLDS_S + hours
        clock.saw_id(snowflake_at(at + passed[0]))
    assert clock.now() == at + passed[0]


@pytest.mark.parametrize("ahead_s", [40.0, 3600.0, 1e9])
@pytest.mark.parametrize("where", ["direct", "channel", "chatter"])
async def test_an_id_from_the_future_loses_no_later_message(ahead_s: float, where: str) -> None:
    """Later messages are still read after a restart, however the id arrived."""
    async with DiscordWorld() as world:
        fake = world.fake
        direct = await fake.direct()
        await fake.say("before", channel=direct)
        await world.until_heard(1)
        number = snowflake_at(fake.now() + ahead_s)
        channel = direct if where == "direct" else fake.general
        strange = fake._message(channel, fake.users["bob"], "strange", number=number)
        if where == "channel":
            strange["content"] = f"<@{fake.application_id}> strange"
            strange["mentions"] = [fake.me]
        await fake._publish("MESSAGE_CREATE", strange)
        await asyncio.sleep(QUIET_S + 1.0)  # the watermark is saved
        for number in range(2):
            await world.disconnect()
            await fake.say(f"missed {number}", channel=direct)
            fake.channels[direct]["last_message_id"] = str(snowflake_at(fake.now()))
            await world.connect()
            async with asyncio.timeout(20):
                while f"missed {number}" not in texts(world):
                    await asyncio.sleep(0.05)


async def test_a_watermark_from_the_future_counts_as_lost(world: DiscordWorld) -> None:
    """An earlier version may have stored such a watermark."""
    fake = world.fake
    await fake.say("before", mention=True)
    await world.until_heard(1)
    await world.disconnect()
    store = Store(Path(world._folder.name) / "discord" / "memory.sqlite")
    store.remember("mark", str(snowflake_at(fake.now() + 1e9)))
    store.close()
    await fake.say("missed", mention=True)
    await world.connect()
    await world.until_heard(2)
    assert texts(world) == ["before", "missed"]


def test_an_id_contains_its_time() -> None:
    """The time is exact to the millisecond; no id is older than Discord."""
    assert seconds_of(snowflake_at(1_795_687_200.125)) == 1_795_687_200.125
    assert snowflake_at(0.0) == 0


# --- a silent gateway -----------------------------------------------------------------------------


async def test_a_silent_gateway_is_noticed_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection without events or heartbeat answers is resumed within the documented time."""
    monkeypatch.setattr(client_module, "HEARTBEAT_TIMEOUT_S", 1.0)
    fake = FakeDiscord()
    fake.gateway.heartbeat_ms = 300
    async with DiscordWorld(fake=fake) as world:
        await fake.say("before", mention=True)
        await world.until_heard(1)
        fake.gateway.silent = True
        await fake.say("unheard", mention=True)
        await asyncio.sleep(QUIET_S)
        fake.gateway.silent = False
        await fake.say("unheard, too", mention=True)
        await world.until_heard(3)
        assert texts(world) == ["before", "unheard", "unheard, too"]
        assert len(fake.gateway.resumes) == 1
        assert len(fake.gateway.identifies) == 1


async def test_a_gateway_that_stays_silent_is_retried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """New connections get no hello either. Answers are posted meanwhile, and nothing is lost."""
    monkeypatch.setattr(client_module, "HEARTBEAT_TIMEOUT_S", 0.5)
    monkeypatch.setattr(client_module, "SILENT_AFTER_S", 0.5)
    fake = FakeDiscord()
    fake.gateway.heartbeat_ms = 200
    async with DiscordWorld(fake=fake) as world:
        await fake.say("before", mention=True)
        await world.until_heard(1)
        fake.gateway.silent = True
        await fake.say("unheard", mention=True)
        await asyncio.sleep(2.5)
        assert not world.platform.health()[0]
        await world.platform.post(Part(answer(world.heard[0], "sticky"), "sticky", 0, 1))
        fake.gateway.silent = False
        async with asyncio.timeout(30):
            await fake.until(lambda: bool(fake.gateway.live))
        async with asyncio.timeout(30):
            while len(world.heard) < 2:
                await asyncio.sleep(0.05)
        assert sorted(texts(world)) == ["before", "unheard"]
        assert fake.gateway.most_at_once == 1


def test_the_docs_state_how_soon_silence_is_noticed() -> None:
    """The page for operators says one minute."""
    assert client_module.HEARTBEAT_TIMEOUT_S == 60.0
    page = Path(__file__).parents[2] / "docs" / "discord.md"
    assert "within 60 seconds" in page.read_text()


async def test_what_discord_has_shown_as_failed_is_not_done(world: DiscordWorld) -> None:
    """The adapter was frozen, and its person has perhaps used it again. A Stop may come twice."""
    await world.fake.command("ask", question="hello")
    await world.until_heard(1)
    (asked,) = world.heard
    await world.platform.post(Part(answer(asked, "hi"), "hi", 0, 1))
    (shown,) = world.fake.posts()
    for late in ("reset", "help"):
        await world.fake.command(late, age_s=6.0)
    await world.fake.command("ask", question="why?", age_s=6.0)
    await world.fake.click(int(shown["id"]), "again", age_s=6.0)
    await world.fake.click(int(shown["id"]), "up", age_s=6.0)
    await world.fake.command("ask", question="why?")
    await world.until_heard(3)
    await asyncio.sleep(QUIET_S)
    assert sorted(event.kind for event in world.heard) == ["ask", "ask", "rate"]
