"""How events arrive from Slack: over Socket Mode, with its failures, and over HTTP."""

import asyncio
import io
import json
import time
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
import sqlalchemy as sa
from slack_sdk.oauth.installation_store.models.installation import Installation

from bots.adapter import Misconfigured
from bots.platform import Gone, Later, Part
from bots.slack import freezes
from bots.slack.installations import STATE_S, InstallationStore, StateStore
from bots.slack.socket_mode import WatchdogLimits
from tests.contract.worlds.slack import SlackWorld
from tests.contract.worlds.world import answer
from tests.fakes.slack import BOT, BOT_TOKEN, ROOM, FakeSlack, Fault
from tests.fakes.slack_shapes import TEAM

SECRET = "signing-secret"  # noqa: S105
HTTP: dict[str, Any] = {
    "SLACK_APP_TOKEN": None, "SLACK_SIGNING_SECRET": SECRET, "SLACK_HTTP_PORT": 0,
}  # fmt: skip


# --- Socket Mode ----------------------------------------------------------------------------------


async def test_each_event_comes_on_one_of_two_connections() -> None:
    """Each event is acknowledged on its own connection; events are ordered by time stamp."""
    async with SlackWorld() as world:
        assert len(world.slack.sockets.live) == 2
        sent = [world.slack.dm(f"n{n}") for n in range(10)]
        await world.until_acknowledged(10)
        assert [sock.sent for sock in world.slack.sockets.live] == [5, 5]
        in_order = sorted(world.heard, key=lambda e: e.said_at)
        assert [e.address["ts"] for e in in_order] == sent


async def test_a_slow_second_connection_is_not_taken_for_a_freeze(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first one receives meanwhile. After a freeze, a command would be refused."""
    monkeypatch.setattr(freezes, "FROZEN_S", 1.0)
    slack = FakeSlack()
    slack.faults["apps.connections.open"] += [Fault("none"), Fault("none"), Fault("hang")]
    world = SlackWorld(slack=slack)
    starting = asyncio.create_task(world.__aenter__())
    await slack.until(lambda: len(slack.sockets.live) == 1 and len(slack.calls) >= 3)
    await asyncio.sleep(1.5)
    assert not world.platform.listening.is_set()
    await slack.command("/reset")
    await slack.until(lambda: world.heard)
    slack._hanging.set()
    await starting
    await world.__aexit__()
    assert [event.kind for event in world.heard] == ["reset"]


async def test_a_refreshed_connection_loses_nothing() -> None:
    """When Slack ends a connection, the other one receives until there are two again."""
    async with SlackWorld() as world:
        world.slack.sockets.ack_s = 0.5
        world.slack.sockets.retries_s = (0.1, 0.5, 2.0)
        for number in range(6):
            if number in (1, 3):
                await world.slack.sockets.refresh()
            world.slack.dm(f"n{number}")
            await asyncio.sleep(0.05)
        await world.until_heard(6)
        await world.until_acknowledged(6)
        await world.slack.sockets.until_connected(2)
        assert len(world.heard) == 6


async def test_a_broken_connection_is_replaced() -> None:
    """A question that was just delivered on it is delivered again and stored once."""
    async with SlackWorld() as world:
        world.slack.sockets.ack_s = 0.5
        world.slack.sockets.retries_s = (0.1, 0.5, 2.0)
        world.slack.dm("before")
        world.slack.sockets.cut()
        world.slack.dm("after")
        await world.until_heard(2)
        await world.slack.sockets.until_connected(2)
        assert world.platform.health() == (True, "ok")
        assert sorted(e.text for e in world.heard) == ["after", "before"]  # type: ignore[union-attr]


@pytest.mark.parametrize("how", ["deaf", "mute"])
async def test_a_connection_that_does_not_receive_is_replaced(how: str) -> None:
    """A deaf connection answers no pings; a mute one answers pings, but receives no events."""
    world = SlackWorld()
    world.watchdog = WatchdogLimits(
        ping_s=0.2, dead_s=1.0, silent_events=8, quiet_s=600, check_every_s=0.1
    )
    async with world:
        world.slack.sockets.ack_s = 0.3
        world.slack.sockets.retries_s = (0.05,) * 8
        first = world.slack.sockets.live[0]
        setattr(first, how, True)
        for number in range(20):
            world.slack.dm(f"n{number}")
        await world.until_heard(20)
        await world.slack.until(lambda: first not in world.slack.sockets.live)
        await world.slack.sockets.until_connected(2)
        assert len(world.heard) == 20


async def test_silent_connections_are_replaced() -> None:
    """Silence does not prove a failure, but replacing a connection is cheap and loses nothing."""
    world = SlackWorld()
    world.watchdog = WatchdogLimits(ping_s=0.5, dead_s=5, quiet_s=0.5, check_every_s=0.1)
    async with world:
        await world.slack.until(lambda: world.slack.sockets.opened >= 4)
        world.slack.sockets.ack_s = 1.0
        world.slack.dm("still there?")
        await world.until_heard(1)


async def test_a_lost_acknowledgement_causes_no_second_question() -> None:
    """Slack delivers an event again if it has no acknowledgement."""
    async with SlackWorld() as world:
        world.slack.sockets.ack_s = 0.2
        world.slack.sockets.retries_s = (0.05, 0.05, 0.05)
        world.slack.sockets.lose_acks = 3
        world.slack.dm("once")
        await world.until_acknowledged(1)
        assert world.slack.deliveries[0].attempts == 4
        assert len(world.heard) == 1


@pytest.mark.parametrize(
    ("setting", "words"),
    [("SLACK_BOT_TOKEN", "SLACK_BOT_TOKEN"), ("SLACK_APP_TOKEN", "SLACK_APP_TOKEN")],
)
async def test_a_wrong_token_is_reported_by_its_setting(setting: str, words: str) -> None:
    """Only a person can fix it, so the process ends with one clear line without the token."""
    slack = FakeSlack()
    world = SlackWorld(slack=slack, **{setting: "xoxb-not-this-one"})
    with pytest.raises(Misconfigured, match=words) as error:
        await world.__aenter__()
    assert "not-this-one" not in str(error.value)
    await slack.stop()


async def test_the_adapter_waits_while_slack_is_down() -> None:
    """The process survives an outage at its start."""
    slack = FakeSlack()
    slack.faults["auth.test"] += [Fault("status"), Fault("limit")]
    slack.faults["apps.connections.open"] += [Fault("status")]
    async with SlackWorld(slack=slack) as world:
        world.slack.dm("hello")
        await world.until_heard(1)


async def test_a_hundred_events_in_a_second_are_acknowledged_in_time() -> None:
    """So Slack delivers none of them again."""
    async with SlackWorld() as world:
        for number in range(100):
            world.slack.users[f"U{number:03d}"] = {
                "id": f"U{number:03d}",
                "team_id": "T1",
                "profile": {},
            }
        for number in range(100):
            world.slack.dm("hello", user=f"U{number:03d}")
            await asyncio.sleep(0.01)
        await world.until_acknowledged(100)
        assert all(d.attempts == 1 for d in world.slack.deliveries)


# --- HTTP -----------------------------------------------------------------------------------------


def http_url(world: SlackWorld) -> str:
    return world.platform.where.split()[0]


async def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=io.BytesIO(body), headers=headers) as r,
    ):
        return r.status


async def test_events_commands_and_buttons_arrive_over_http() -> None:
    """All kinds of events arrive over HTTP, too. By default the server listens on loopback."""
    async with SlackWorld(**HTTP) as world:
        assert http_url(world).startswith("http://127.0.0.1:")
        world.slack.sockets.http_urls = [http_url(world)]
        ts = world.slack.mention("hello")
        await world.until_acknowledged(2)
        await world.platform.post(_part(world))
        assert world.slack.thread(ROOM, ts) == ["hi"]
        (message,) = world.slack.bot_messages(ROOM, ts)
        assert (await world.slack.click(ROOM, message["ts"], "Good answer")).acked_at
        asked = await world.slack.command("/ask", "and?")
        assert asked.response["response_type"] == "in_channel"
        assert [e.kind for e in world.heard] == ["ask", "rate", "ask"]
        assert set(world.slack.sockets.http_statuses) == {200}


def _part(world: SlackWorld) -> Part:
    return Part(answer(world.heard[0], "hi"), "hi", 0, 1)


async def test_over_http_an_event_that_is_not_stored_is_delivered_again() -> None:
    """A response of 500 makes Slack deliver it again."""
    async with SlackWorld(**HTTP) as world:
        world.slack.sockets.http_urls = [http_url(world)]
        world.slack.sockets.retries_s = (0.05, 0.05)
        world.unavailable = 2
        world.slack.dm("hold on")
        await world.until_acknowledged(1)
        assert len(world.heard) == 1
        assert world.slack.sockets.http_statuses == [500, 500, 200]


EVENT = {"type": "event_callback", "team_id": "T1", "event": {"type": "message"}}
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{", JSON), (b"", JSON), (b"[]", JSON), (b"5", JSON), (b"null", JSON),
        (b'"x"', JSON), (b"[" * 100_000, JSON), (b"{}", JSON), (b'{"type": 5}', JSON),
        (b"\xff\xfe", JSON), (b'{"type": "event_callback"}', JSON),
        (b'{"type": "event_callback", "team_id": "T1", "event": 5}', JSON),
        (b'{"type": "event_callback", "team_id": "T1", "event": {"type": []}}', JSON),
        (b'{"type": "event_callback", "team_id": 7, "event": {"type": "message"}}', JSON),
        (b'{"type":"event_callback","team_id":"T1","event":{"type":"m","channel":5}}', JSON),
        (b"payload=%7B", FORM), (b"payload=5", FORM), (b"payload=", FORM), (b"x=1", FORM),
        (b"%%%", FORM), (b"{}", {"Content-Type": "text/plain"}), (b"x" * 2_000_000, JSON),
    ],
)  # fmt: skip
async def test_a_signed_request_that_cannot_be_read_gets_4xx(
    body: bytes, headers: dict[str, str]
) -> None:
    """The response is never 500, and nothing is published."""
    async with SlackWorld(**HTTP) as world:
        signed = world.slack.sockets.signed(
            body.decode("latin-1") if b"\xff" in body else body.decode()
        )
        status = await post(http_url(world), body, {**headers, **signed})
        assert 400 <= status < 500
        assert world.heard == []


@pytest.mark.parametrize(
    "change",
    [
        {"X-Slack-Signature": "v0=" + "0" * 64}, {"X-Slack-Signature": ""},
        {"X-Slack-Signature": "v1=\xe9"}, {"X-Slack-Request-Timestamp": "yesterday"},
        {"X-Slack-Request-Timestamp": ""}, {"X-Slack-Request-Timestamp": "-5"},
        {"X-Slack-Request-Timestamp": "9" * 40}, {"X-Slack-Request-Timestamp": "1e9"},
        {"X-Slack-Request-Timestamp": "\u0661\u0662"},
    ],
)  # fmt: skip
async def test_a_request_that_slack_did_not_sign_gets_4xx(change: dict[str, str]) -> None:
    """The signature is wrong or missing, or the time stamp is not a number."""
    body = json.dumps(EVENT)
    async with SlackWorld(**HTTP) as world:
        headers = {**JSON, **world.slack.sockets.signed(body), **change}
        status = await post(http_url(world), body.encode(), headers)
        assert 400 <= status < 500
        assert world.heard == []


@pytest.mark.parametrize("off_s", [-301, 301, -86_400])
async def test_an_old_request_is_refused(off_s: int) -> None:
    """Nobody can replay a recorded request later."""
    body = json.dumps(EVENT)
    async with SlackWorld(**HTTP) as world:
        headers = {**JSON, **world.slack.sockets.signed(body, at=time.time() + off_s)}
        assert await post(http_url(world), body.encode(), headers) == 401


async def test_a_replayed_request_causes_no_second_question() -> None:
    """The same bytes are valid for five minutes, so the message id must prevent it."""
    async with SlackWorld(**HTTP) as world:
        ts = world.slack.say("hello", channel=world.slack.direct("UADA"))
        event = world.slack.events_of("DADA", ts)[0]
        body = json.dumps({**EVENT, "event": event})
        headers = {**JSON, **world.slack.sockets.signed(body)}
        for _ in range(3):
            assert await post(http_url(world), body.encode(), headers) == 200
        assert len(world.heard) == 1


async def test_the_challenge_of_slacks_address_check_is_returned() -> None:
    """The response to `url_verification` is its challenge."""
    async with SlackWorld(**HTTP) as world:
        body = json.dumps({"type": "url_verification", "challenge": "c0ffee"})
        headers = {**JSON, **world.slack.sockets.signed(body)}
        async with (
            aiohttp.ClientSession() as session,
            session.post(http_url(world), data=body, headers=headers) as response,
        ):
            assert (response.status, await response.json()) == (200, {"challenge": "c0ffee"})


@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning")  # in the SDK
async def test_several_workspaces_install_by_oauth(tmp_path: Any) -> None:
    """Each gets answers with its own token, and is forgotten after `app_uninstalled`."""
    settings = {
        **HTTP, "SLACK_BOT_TOKEN": None, "SLACK_CLIENT_ID": "1.2", "SLACK_CLIENT_SECRET": "shh",
    }  # fmt: skip
    world = SlackWorld(**settings)
    world.installations_url = f"sqlite:///{tmp_path / 'slack.sqlite3'}"
    world.slack.tokens.clear()
    async with world:
        base = http_url(world).removesuffix("/slack/events")
        async with aiohttp.ClientSession() as browser:
            async with browser.get(f"{base}/slack/install") as page:
                text = await page.text()
                assert page.status == 200
                cookies = {k: v.value for k, v in page.cookies.items()}
            state = text.split("state=")[1].split("&")[0]
            headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())}
            query = urlencode({"code": "the-code", "state": state})
            for expected in (200, 400):  # the state was used before
                async with browser.get(
                    f"{base}/slack/oauth_redirect?{query}", headers=headers
                ) as page:
                    assert (page.status == 200) == (expected == 200), await page.text()
        world.slack.sockets.http_urls = [http_url(world)]
        world.slack.dm("hello")
        await world.until_heard(1)
        await world.platform.post(_part(world))
        assert world.slack.thread("DADA", world.heard[0].address["ts"]) == ["hi"]
        await world.restart()
        world.slack.sockets.http_urls = [http_url(world)]
        world.slack.dm("after a restart")
        await world.until_heard(2)
        await world.slack.deliver({"type": "tokens_revoked", "tokens": {"oauth": ["U1"]}})
        world.slack.dm("still installed")
        await world.until_heard(3)
        await world.slack.deliver({"type": "app_uninstalled"})
        world.slack.dm("gone")
        await world.slack.until(lambda: len(world.slack.deliveries) == 6)
        assert len(world.heard) == 3


@pytest.mark.parametrize("after", ["removed", "installed again"])
async def test_a_token_that_slack_refuses_is_forgotten_by_every_process(
    tmp_path: Any, after: str
) -> None:
    """Only one of several processes hears that the app was removed, or has a new token."""
    world = SlackWorld(**{
        **HTTP, "SLACK_BOT_TOKEN": None, "SLACK_CLIENT_ID": "1.2", "SLACK_CLIENT_SECRET": "shh",
    })  # fmt: skip
    world.installations_url = f"sqlite:///{tmp_path / 'slack.sqlite3'}"
    store = InstallationStore(world.installations_url, "1.2")
    await store.create()
    await store.async_save(_installation("T1", BOT_TOKEN))
    async with world:
        world.slack.sockets.http_urls = [http_url(world)]
        world.slack.dm("hello")
        await world.until_heard(1)
        await world.platform.post(_part(world))
        world.slack.tokens.clear()
        await store.forget("T1")  # by the other process
        if after == "installed again":
            await store.async_save(_installation("T1", "xoxb-new"))
            world.slack.tokens["xoxb-new"] = (TEAM, BOT)
        second = replace(_part(world), text="more", index=1, count=2)
        with pytest.raises(Later):
            await world.platform.post(second)
        if after == "installed again":
            await world.platform.post(second)
            assert world.slack.thread("DADA", world.heard[0].address["ts"]) == ["hi", "more"]
        else:
            with pytest.raises(Gone):
                await world.platform.post(second)


def _installation(team: str, token: str, at: float = 1_700_000_000.0) -> Installation:
    return Installation(
        app_id="A1", team_id=team, user_id="UADA", bot_token=token, bot_id="B1",
        bot_user_id="UBOT", installed_at=at,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning")  # in the SDK
async def test_a_flood_of_visits_stores_nothing(tmp_path: Any) -> None:
    """Anybody can open the installation page, but that does not change the database."""
    settings = {
        **HTTP, "SLACK_BOT_TOKEN": None, "SLACK_CLIENT_ID": "1.2", "SLACK_CLIENT_SECRET": "shh",
    }  # fmt: skip
    world = SlackWorld(**settings)
    database = tmp_path / "slack.sqlite3"
    world.installations_url = f"sqlite:///{database}"
    async with world:
        base = http_url(world).removesuffix("/slack/events")
        before = database.read_bytes()
        async with aiohttp.ClientSession() as browser:
            for _ in range(200):
                async with browser.get(f"{base}/slack/install") as page:
                    assert page.status == 200
            for forged in ("", "x", "1.2.3", "9999999999.x.y", "\ud83d", "\u00e9.\u00e9"):
                query = urlencode({"code": "the-code", "state": forged}, errors="replace")
                headers = {
                    "Cookie": f"slack-app-oauth-state={forged}".encode("utf-8", "replace").decode()
                }
                async with browser.get(
                    f"{base}/slack/oauth_redirect?{query}", headers=headers
                ) as page:
                    assert page.status in {400, 401}
        assert database.read_bytes() == before
        assert "oauth.v2.access" not in [method for method, _ in world.slack.calls]


async def test_each_workspace_has_one_row_however_often_it_installs(tmp_path: Any) -> None:
    """The newest token is used, and other workspaces keep theirs."""
    store = InstallationStore(f"sqlite:///{tmp_path / 'slack.sqlite3'}", "1.2")
    await store.create()
    for number in range(20):
        for team in ("T1", "T2"):
            installed = _installation(team, f"xoxb-{team}-{number}", 1_700_000_000.0 + number)
            await store.async_save(installed)
    assert [await store.token(team) for team in ("T1", "T2")] == ["xoxb-T1-19", "xoxb-T2-19"]
    rows = sa.create_engine(f"sqlite:///{tmp_path / 'slack.sqlite3'}")
    with rows.connect() as connection:
        for table in ("slack_bots", "slack_installations"):
            assert connection.execute(sa.text(f"select count(*) from {table}")).scalar() == 2  # noqa: S608
    rows.dispose()


async def test_a_state_works_once_and_for_ten_minutes() -> None:
    """A state is signed with the app's client secret."""
    now = [1_700_000_000.0]
    states = StateStore("shh", lambda: now[0])
    state = await states.async_issue()
    assert not await StateStore("other", lambda: now[0]).async_consume(state)
    assert not await states.async_consume(state.replace("1", "2", 1))
    assert await states.async_consume(state)
    assert not await states.async_consume(state)
    late = await states.async_issue()
    now[0] += STATE_S
    assert not await states.async_consume(late)


async def test_slack_is_asked_once_who_the_bot_is() -> None:
    """A hundred events do not cause a hundred calls."""
    async with SlackWorld() as world:
        for _ in range(20):
            world.slack.mention(f"<@{BOT}> hello")
        await world.until_acknowledged(40)
        assert [m for m, _ in world.slack.calls].count("auth.test") == 1
