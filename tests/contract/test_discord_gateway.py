"""Discord's gateway connection fails and recovers, and missed messages are read."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bots.adapter import CANNOT_RUN, Misconfigured
from bots.discord import backfill_plan
from bots.discord import client as client_module
from bots.discord.store import Store
from ops.nats_server import NatsServer
from shared.messages import Ask
from tests.contract.test_discord_answering import part
from tests.contract.worlds.discord import DiscordWorld
from tests.fakes.discord import FakeDiscord
from tests.running import Running

QUIET_S = 0.5


@pytest.fixture
async def world() -> AsyncIterator[DiscordWorld]:
    async with DiscordWorld() as world:
        yield world


def texts(world: DiscordWorld) -> list[str]:
    return [e.text for e in world.heard if isinstance(e, Ask)]


async def until_receiving(world: DiscordWorld) -> None:
    """Waits until the adapter receives messages again."""
    async with asyncio.timeout(30):
        while not (world.fake.gateway.live and world.platform.health()[0]):
            await asyncio.sleep(0.05)


async def test_a_dropped_connection_is_resumed_without_loss(world: DiscordWorld) -> None:
    """It needs no new session, and messages sent in between become questions once."""
    world.fake.gateway.drop()
    for number in range(3):
        await world.fake.say(f"missed {number}", mention=True)
    await world.until_heard(3)
    await asyncio.sleep(QUIET_S)
    assert sorted(texts(world)) == ["missed 0", "missed 1", "missed 2"]
    assert len(world.fake.gateway.identifies) == 1
    assert len(world.fake.gateway.resumes) == 1


async def test_opcode_7_and_close_4000_are_resumed(world: DiscordWorld) -> None:
    """Discord sends these several times a day."""
    await world.fake.gateway.ask_reconnect()
    await world.fake.until(lambda: len(world.fake.gateway.resumes) == 1)
    await until_receiving(world)
    await world.fake.gateway.close(4000)
    await world.fake.until(lambda: len(world.fake.gateway.resumes) == 2)
    await world.fake.say("still there?", mention=True)
    await world.until_heard(1)
    assert len(world.fake.gateway.identifies) == 1


async def test_missed_messages_are_read_after_a_lost_session(world: DiscordWorld) -> None:
    """After opcode 9, missed questions in channels, threads and direct messages are asked once."""
    direct = await world.fake.direct()
    await world.fake.say("before", channel=direct)
    await world.until_heard(1)
    world.fake.gateway.refuse_resumes = True
    world.fake.gateway.drop()
    world.fake.gateway.sessions.clear()
    await world.fake.say("missed in the channel", mention=True)
    await world.fake.say("missed directly", channel=direct)
    await world.fake.say("chatter")
    await world.until_heard(3)
    await asyncio.sleep(QUIET_S)
    assert sorted(texts(world)) == ["before", "missed directly", "missed in the channel"]
    assert world.fake.gateway.most_at_once == 1


async def test_messages_during_a_deploy_are_read(world: DiscordWorld) -> None:
    """None is lost, and none is asked twice."""
    message = await world.fake.say("one", mention=True)
    await world.until_heard(1)
    await world.disconnect()
    await world.fake.say("two", mention=True)
    await world.fake.say("three", mention=True, author="bob")
    await world.fake.delete(await world.fake.say("gone", mention=True))
    world.heard.clear()
    await world.connect()
    await world.until_heard(3)
    await asyncio.sleep(QUIET_S)
    # The first one is read again within the overlap; the stream recognizes its id.
    assert min(e.id for e in world.heard) == f"discord-{message}"
    assert sorted(texts(world)) == ["one", "three", "two"]


async def test_a_thread_with_new_messages_is_read_however_many_are_followed(
    world: DiscordWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads without new messages need no request."""
    monkeypatch.setattr(backfill_plan, "CHANNELS", 2)
    monkeypatch.setattr(backfill_plan, "OVERLAP_MS", 0)
    threads = []
    for number in range(6):
        threads.append(await world.fake.say("hello", mention=True))
        await world.until_heard(2 * number + 1)
        await world.platform.post(part(world.heard[-1], "hello"))
        await world.fake.say("and then?", channel=threads[-1])
        await world.until_heard(2 * number + 2)
    await world.disconnect()
    await world.fake.say("missed", channel=threads[0])
    world.heard.clear()
    calls = len(world.fake.calls)
    await world.connect()
    await world.until_heard(1)
    await asyncio.sleep(QUIET_S)
    assert texts(world) == ["missed"]
    read = [path for method, path, *_ in world.fake.calls[calls:]
            if method == "GET" and path.endswith("/messages")]  # fmt: skip
    assert set(read) == {f"/api/v10/channels/{threads[0]}/messages"}


async def test_the_first_start_answers_no_old_messages() -> None:
    """A server that invites the bot gets no answers to a year of old mentions."""
    fake = FakeDiscord()
    old = fake.snowflake() - (3600_000 << 22)
    message = fake._message(
        fake.general, fake.users["ada"], f"<@{fake.application_id}> old", 0, old
    )
    assert message["id"] == str(old)
    async with DiscordWorld(fake=fake) as world:
        await asyncio.sleep(QUIET_S)
        assert world.heard == []


async def test_a_malformed_event_affects_nothing_else(world: DiscordWorld) -> None:
    """The session and all conversations continue."""
    await world.fake.gateway.send_garbage()
    await world.fake.say("still there?", mention=True)
    await world.until_heard(1)
    assert len(world.fake.gateway.identifies) == 1


@pytest.mark.parametrize("code", [4004, 4010, 4013, 4014])
async def test_a_fatal_close_code_is_not_retried(world: DiscordWorld, code: int) -> None:
    """The process ends with a message about what to do."""
    await world.fake.gateway.close(code)
    with pytest.raises(Misconfigured):
        await asyncio.wait_for(world._listening, 10)
    assert len(world.fake.gateway.identifies) == 1


async def test_a_wrong_token_ends_the_process_at_once() -> None:
    """It makes one request and opens no connection."""
    world = DiscordWorld(DISCORD_TOKEN="wrong")  # noqa: S106
    with pytest.raises(Misconfigured, match="Discord refuses DISCORD_TOKEN"):
        async with world:
            pass
    assert world.fake.gateway.identifies == []


async def test_a_disabled_intent_ends_the_process_with_advice() -> None:
    """For close code 4014, the message says where to enable the intent or how to do without it."""
    fake = FakeDiscord()
    fake.enabled_intents = 0
    world = DiscordWorld(fake=fake)
    with pytest.raises(Misconfigured, match="DISCORD_MESSAGE_CONTENT=false"):
        async with world:
            pass


async def test_a_silent_gateway_is_not_ready(
    world: DiscordWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead connection looks open; only the time since its last frame shows that it is not."""
    assert world.platform.health() == (True, "ok")
    monkeypatch.setattr(client_module, "SILENT_AFTER_S", 0.2)
    world.fake.gateway.go_silent()
    await asyncio.sleep(0.4)
    assert world.platform.health() == (False, "Discord's gateway is silent")


def test_new_sessions_are_counted_across_restarts(tmp_path: Path) -> None:
    """The next process must know how many sessions are left for the day."""
    now = 1_000_000.0
    store = Store(tmp_path / "m")
    for second in range(5):
        store.identified(now + second)
    store.close()
    store = Store(tmp_path / "m")
    assert store.identified(now + 10) == 6
    assert store.identified(now + 86_405) == 2
    store.close()


async def test_too_many_new_sessions_wait(
    world: DiscordWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash loop must slow down before Discord resets the token."""
    monkeypatch.setattr(client_module, "IDENTIFIES_A_DAY", 1)
    monkeypatch.setattr(client_module, "IDENTIFY_WAIT_S", 2.0)
    await world.disconnect()
    started = time.monotonic()
    await world.connect()
    assert time.monotonic() - started >= 2.0


def test_the_watermark_stays_below_messages_in_progress(tmp_path: Path) -> None:
    """After a crash, a message that was not stored is read again."""
    store = Store(tmp_path / "m")
    store.frozen = False
    store.begin(10)
    store.begin(20)
    store.done(20)
    store.save()
    assert store.watermark == 9
    store.done(10)
    store.frozen = True
    store.save()
    assert store.watermark == 9
    store.frozen = False
    store.save()
    assert store.watermark == 20
    store.close()


async def test_a_second_adapter_on_the_same_data_is_refused(world: DiscordWorld) -> None:
    """Both would publish every message."""
    with pytest.raises(Misconfigured, match="already runs"):
        await world.connect()


@pytest.mark.parametrize("token", ["", "wrong"])
async def test_a_wrong_setup_ends_the_process_for_good(
    nats: NatsServer, tmp_path: Path, token: str
) -> None:
    """It exits with code 78 and one line that says what to do, without the token."""
    fake = await FakeDiscord().start()
    env = {"NATS_URL": nats.url, "THREADWAX_HOME": str(tmp_path / "home"), **fake.env}
    process = Running(
        "discord", log=tmp_path / "log", env={**env, "DISCORD_TOKEN": token}
    ).start()  # fmt: skip
    assert process.process is not None
    code = await asyncio.to_thread(process.process.wait, 30)
    await fake.stop()
    said = (tmp_path / "log").read_text()
    assert code == CANNOT_RUN, said
    assert "DISCORD_TOKEN" in said
    assert "wrong" not in said
    assert "Traceback" not in said
