"""Guests, which are clients without credentials: what they can do and what they cannot do."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import nats as nats_py
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from structlog.testing import capture_logs

from bots.gateway.client_kinds import GUESTS
from bots.gateway.messages import ERROR_CODE_HEADER, ERROR_HEADER
from bots.gateway.platform import Gateway
from ops import nats_config
from ops.nats_server import NatsServer
from shared import names, quota, user_names
from shared.bus import Bus
from tests.fakes.flow import FakeFlow

ANSWER_S = 20.0
"""Long enough for a busy machine."""


def body(user: object, prompt: object) -> bytes:
    return json.dumps({"user_id": user, "prompt": prompt}).encode()


async def asked(client: Client, data: bytes, *, message_id: str = "") -> Msg:
    headers = {"Nats-Msg-Id": message_id} if message_id else None
    return await client.request("prompts", data, timeout=ANSWER_S, headers=headers)


async def asked_until_heard(client: Client, data: bytes, message_id: str) -> Msg:
    """Repeats a request until the gateway listens and accepts it."""
    async with asyncio.timeout(ANSWER_S):
        while True:
            try:
                answer = await client.request(
                    "prompts", data, timeout=2, headers={"Nats-Msg-Id": message_id}
                )
            except (nats_py.errors.NoRespondersError, TimeoutError):
                await asyncio.sleep(0.05)
            else:
                if not answer.headers:
                    return answer


def refusal(answer: Msg) -> tuple[str, str]:
    """The error code and the reason; checks that body and header have the same reason."""
    assert answer.headers is not None
    assert answer.data.decode() == answer.headers[ERROR_HEADER]
    return answer.headers[ERROR_CODE_HEADER], answer.headers[ERROR_HEADER]


async def ignore(_: Exception) -> None:
    """The error callback of clients whose refusal is expected."""


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    client = await nats_py.connect(url, error_cb=ignore)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def guest(nats: NatsServer, gateway: Gateway) -> AsyncIterator[Client]:
    """A client on this machine without the password."""
    del gateway
    async with connected(nats.guest_url) as client:
        yield client


@pytest.fixture
async def owner(nats: NatsServer, gateway: Gateway) -> AsyncIterator[Client]:
    """A client with the password."""
    del gateway
    async with connected(nats.url) as client:
        yield client


# --- identity -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ada", "a/b", "guest/ada", "é", "_2F", "a.b.>", "%2Fada", "0"])
async def test_a_guest_is_never_the_user_of_that_name(
    guest: Client, owner: Client, flow: FakeFlow, name: str
) -> None:
    """The server decides who is a guest; the name has no influence."""
    assert (await asked(guest, body(name, "mine"))).data == b"echo mine"
    assert flow.asked(user_names.user_of("gateway", f"guest/{name}")) == {"mine": 1}
    assert flow.asked(user_names.user_of("gateway", name)) == {}
    if not name.startswith("guest/"):
        assert (await asked(owner, body(name, "other"))).data == b"echo other"
        assert flow.asked(user_names.user_of("gateway", name)) == {"other": 1}


@pytest.mark.parametrize("name", ["guest/ada", "guest/", "guest//", "guest/guest/ada"])
async def test_a_client_with_the_password_is_not_a_guest(
    owner: Client, flow: FakeFlow, name: str
) -> None:
    """Otherwise it could read a guest's messages, and a guest could be taken for it."""
    code, reason = refusal(await asked(owner, body(name, "hello")))
    assert code == "400"
    assert 'must not begin with "guest/"' in reason
    assert flow.events == []


@pytest.mark.parametrize(
    "name", ["guest", "Guest/ada", "guest_2Fada", "guest%2Fada", "guest\u2215ada", "guest\uff0fada"]
)
async def test_names_that_look_like_a_guests_are_users_of_their_own(
    owner: Client, guest: Client, flow: FakeFlow, name: str
) -> None:
    """Only the exact prefix marks a guest, and no other name is encoded to it."""
    assert (await asked(owner, body(name, "with password"))).data == b"echo with password"
    assert (await asked(guest, body("ada", "without"))).data == b"echo without"
    assert flow.asked(user_names.user_of("gateway", name)) == {"with password": 1}
    assert flow.asked(user_names.user_of("gateway", "guest/ada")) == {"without": 1}


@pytest.mark.parametrize("user", ["ada", "a-b"])
async def test_a_guest_cannot_fetch_an_answer_by_another_users_message_id(
    owner: Client, guest: Client, flow: FakeFlow, user: str
) -> None:
    """The same user_id and message id mean another question if the client is a guest."""
    await asked(owner, body(user, "secret"), message_id="1")
    assert (await asked(guest, body(user, "what?"), message_id="1")).data == b"echo what?"
    assert len({event.id for event in flow.events}) == 2
    stored = f"gateway-{user_names.encoded(user)}-1"
    assert (await asked(guest, body(user, "who?"), message_id=stored)).data == b"echo who?"


async def test_a_forged_attestation_is_ignored(owner: Client, flow: FakeFlow) -> None:
    """The header with the account is ignored: the subject decides."""
    headers = {"Nats-Request-Info": '{"acc":"GUEST"}'}
    answer = await owner.request("prompts", body("ada", "hi"), timeout=ANSWER_S, headers=headers)
    assert answer.data == b"echo hi"
    assert flow.asked("gateway:ada") == {"hi": 1}


# --- reply subjects -------------------------------------------------------------------------------

ELSEWHERE = (
    "prompts", "prompts.guest", "prompts.slack.x", "replies.slack.x.y", "dlq.x", "$JS.API.INFO",
    "$KV.RECEIPTS.slack.x", "$SYS.REQ.USER.INFO", "$SRV.PING", "_INBOX_gateway.x",
)  # fmt: skip


@pytest.mark.parametrize("reply", ELSEWHERE)
async def test_a_guests_reply_subject_stays_in_the_guests_account(
    bus: Bus, guest: Client, flow: FakeFlow, reply: str
) -> None:
    """The server delivers the answer in that account, which contains no streams."""
    before = {i.config.name: i.state.messages for i in await bus.js.streams_info()}
    heard: list[bytes] = []

    async def hear(message: Msg) -> None:
        heard.append(message.data)

    await bus.client.subscribe(reply, cb=hear)
    await bus.client.flush()
    await guest.publish("prompts", body("eve", "take over"), reply=reply)
    await flow.until_asked("take over")
    assert (await asked(guest, body("eve", "after"))).data == b"echo after"
    assert b"echo take over" not in heard
    after = {i.config.name: i.state.messages for i in await bus.js.streams_info()}
    assert {name for name in after if after[name] != before[name]} == {
        names.PROMPTS, names.REPLIES, "KV_RECEIPTS",
    }  # fmt: skip


async def test_nobody_can_name_a_reply_subject_of_the_server(
    bus: Bus, owner: Client, guest: Client, flow: FakeFlow
) -> None:
    """Such a subject would let a client answer another client's request; the server refuses it."""
    await guest.publish("prompts", body("eve", "one"), reply="_R_.abcdef.ghijkl")
    await guest.publish("_R_.abcdef.ghijkl", b"forged")
    await owner.publish("prompts", body("eve", "two"), reply="_R_.abcdef.ghijkl")
    assert (await asked(guest, body("eve", "later"))).data == b"echo later"
    assert (await asked(owner, body("eve", "later"))).data == b"echo later"
    assert {event.text for event in flow.events if hasattr(event, "text")} == {"later"}
    assert (await bus.js.stream_info(names.DLQ)).state.messages == 0


async def test_guests_reach_no_stream_and_receive_nothing_of_others(
    bus: Bus, guest: Client, owner: Client
) -> None:
    """Guests have no access to JetStream, questions, or other clients' inboxes."""
    heard = await guest.subscribe("_INBOX.>")
    await guest.flush()
    assert (await asked(owner, body("ada", "secret"))).data == b"echo secret"
    with pytest.raises(nats_py.errors.Error):
        await guest.jetstream(timeout=1).account_info()
    await guest.flush()
    assert heard.pending_msgs == 0
    for subject in ("prompts", "prompts.guest", "prompts.>", "_R_.>", "$SRV.>", ">"):
        refused: asyncio.Queue[str] = asyncio.Queue()

        async def keep(error: Exception, refused: asyncio.Queue[str] = refused) -> None:
            refused.put_nowait(str(error))

        guest._error_cb = keep
        await guest.subscribe(subject)
        assert "permissions violation" in await asyncio.wait_for(refused.get(), ANSWER_S)
    del bus


async def test_a_guest_is_limited_to_a_few_subscriptions_and_connections(nats: NatsServer) -> None:
    """Clients with the password can connect, however many guests there are."""
    async with AsyncExitStack() as stack:
        for _ in range(nats_config.GUEST_CONNECTIONS):
            await stack.enter_async_context(connected(nats.guest_url))
        one_more = Client()
        with pytest.raises(nats_py.errors.Error, match="maximum account active connections"):
            await one_more.connect(nats.guest_url, allow_reconnect=False, error_cb=ignore)
        assert one_more._transport is not None
        one_more._transport.close()  # type: ignore[no-untyped-call]  # nats-py leaves it open
        await (await Bus.connect(nats.url, name="owner")).close()


# --- requests that cannot be answered -------------------------------------------------------------


async def test_a_guest_cannot_push_out_the_dead_letters(
    bus: Bus, guest: Client, gateway: Gateway
) -> None:
    """A guest's request without a reply subject is counted, but rarely logged and never stored."""
    await bus.dead_letter(subject="p.0.slack.T1", data=b"kept", reason="for the test")
    with capture_logs() as logged:
        for number in range(100):
            await guest.publish("prompts", body("eve", f"{number}" * 1000))
        assert (await asked(guest, b"no JSON")).headers is not None
    assert gateway.counts() == (101, 101)
    lines = [line for line in logged if line["event"] == "request without an inbox"]
    assert [(line["reason"], line["guest"]) for line in lines] == [("no reply subject", True)]
    assert (await bus.js.stream_info(names.DLQ)).state.messages == 1


# --- limits ---------------------------------------------------------------------------------------


async def test_a_guest_is_answered_after_a_restart_of_the_gateways_connection(
    guest: Client, gateway: Gateway, flow: FakeFlow
) -> None:
    """The server still knows the guest's reply subject."""
    asking = asyncio.create_task(asked(guest, body("ada", "wait")))
    await flow.until_asked("wait")
    for intake_bus in (gateway._guests._bus, gateway._bus):
        assert intake_bus.client._transport is not None
        intake_bus.client._transport.close()  # type: ignore[no-untyped-call]
    flow.release()
    assert (await asking).data == b"echo wait"


async def test_after_a_restart_of_the_server_a_guest_asks_again(
    nats: NatsServer, guest: Client, flow: FakeFlow
) -> None:
    """The server has forgotten the reply subject, but the message id still finds the answer."""
    asking = asyncio.create_task(
        guest.request("prompts", body("ada", "wait"), timeout=6, headers={"Nats-Msg-Id": "1"})
    )
    await flow.until_asked("wait")
    nats.kill()
    nats.start()
    flow.release()
    with pytest.raises(TimeoutError):
        await asking
    assert (await asked_until_heard(guest, body("ada", "wait"), "1")).data == b"echo wait"
    assert flow.asked("gateway:guest_2Fada") == {"wait": 1}


async def test_the_server_keeps_a_guests_reply_subject_for_a_limited_time(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a limit of one second, a later answer is lost. Our limit is 15 minutes."""
    assert nats_config.GUEST_WAITS == "15m"
    for waits, expected in (("1s", False), ("1m", True)):
        monkeypatch.setattr(nats_config, "GUEST_WAITS", waits)
        server = NatsServer(tmp_path / waits, port=0)  # type: ignore[operator]
        server.start()
        bus = await Bus.connect(server.url, name="gateway")

        async def answer_late(message: Msg, bus: Bus = bus) -> None:
            await asyncio.sleep(2.5)
            await bus.client.publish(message.reply, b"late")

        await bus.client.subscribe(names.GUESTS_SUBJECT, cb=answer_late)
        await bus.client.flush()
        async with connected(server.guest_url) as guest:
            try:
                heard = (await guest.request("prompts", b"", timeout=5)).data == b"late"
            except TimeoutError:
                heard = False
        assert heard is expected
        await bus.close()
        server.close()


async def test_guests_do_not_keep_others_from_the_model(
    guest: Client, owner: Client, flow: FakeFlow
) -> None:
    """All guests together can have a few open questions; each answer makes room for another."""
    limit = GUESTS.open_limit
    assert limit is not None
    asking = [asyncio.create_task(asked(guest, body("eve", f"wait {n}"))) for n in range(limit)]
    for number in range(limit):
        await flow.until_asked(f"wait {number}")
    code, reason = refusal(await asked(guest, body("someone else", "me too")))
    assert code == "429"
    assert "ask with the password" in reason
    assert (await asked(owner, body("ada", "hello"))).data == b"echo hello"
    flow.release()
    assert {a.data for a in await asyncio.gather(*asking)} == {
        f"echo wait {n}".encode() for n in range(limit)
    }
    assert (await asked(guest, body("someone else", "now"))).data == b"echo now"


async def test_repeats_of_guests_are_limited(
    guest: Client, owner: Client, flow: FakeFlow, gateway: Gateway
) -> None:
    """Repeats above the limit are refused at once; the others wait for the one answer."""
    first = asyncio.create_task(asked(guest, body("eve", "wait"), message_id="1"))
    await flow.until_asked("wait")
    repeats = [
        asyncio.create_task(asked(guest, body("eve", "wait"), message_id="1"))
        for _ in range(GUESTS.repeats_limit + 10)
    ]
    done, _ = await asyncio.wait(repeats, return_when=asyncio.FIRST_COMPLETED)
    assert refusal(done.pop().result())[0] == "429"
    assert (await asked(owner, body("ada", "hello"))).data == b"echo hello"
    assert len(gateway._guests._repeats) <= GUESTS.repeats_limit
    flow.release()
    answers = [task.result().data for task in (await asyncio.wait([first, *repeats]))[0]]
    assert answers.count(b"echo wait") >= 2
    assert flow.asked("gateway:guest_2Feve") == {"wait": 1}


async def test_all_guests_share_the_quota_of_one_user(
    guest: Client, owner: Client, gateway: Gateway, flow: FakeFlow
) -> None:
    """Another user_id gives no second quota. Stored questions are still answered."""
    assert (await asked(guest, body("eve", "first"), message_id="1")).data == b"echo first"
    quotas = gateway._guests._bus._event_quotas
    assert quotas.take("gateway", quota.EVENT_QUOTA_BYTES - quota.EVENT_MIN_BYTES, time.monotonic())
    for user in ("eve", "mallory"):
        code, reason = refusal(await asked(guest, body(user, "more")))
        assert code == "429"
        assert "that all clients without credentials share is used up" in reason
    assert (await asked(guest, body("eve", "first"), message_id="1")).data == b"echo first"
    assert (await asked(owner, body("ada", "hello"))).data == b"echo hello"
    assert flow.asked("gateway:guest_2Feve") == {"first": 1}


@pytest.mark.parametrize("reply", [True, False], ids=["with inbox", "without"])
async def test_a_flood_of_guests_does_not_keep_others_waiting(
    nats: NatsServer, owner: Client, flow: FakeFlow, reply: bool
) -> None:
    """Clients with the password are answered meanwhile, and guests afterwards."""
    stop = asyncio.Event()
    sent = 0

    async def flood() -> None:
        nonlocal sent
        async with connected(nats.guest_url) as guest:
            inbox = guest.new_inbox() if reply else ""
            while not stop.is_set():
                for _ in range(100):
                    await guest.publish("prompts", body(f"eve{sent}", "wait"), reply=inbox)
                    sent += 1
                await guest.flush()

    flooding = [asyncio.create_task(flood()) for _ in range(2)]
    try:
        for number in range(30):
            answer = await asked(owner, body("ada", f"question {number}"))
            assert answer.data == f"echo question {number}".encode()
    finally:
        stop.set()
        await asyncio.gather(*flooding)
    assert sent > 100
    flow.release()
    async with connected(nats.guest_url) as guest:
        assert (await asked_until_heard(guest, body("eve", "after"), "1")).data == b"echo after"
    assert flow.asked("gateway:ada") == {f"question {n}": 1 for n in range(30)}
