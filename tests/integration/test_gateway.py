"""The gateway with a real NATS server: what it answers, and what clients cannot make it do."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import nats as nats_py
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from bots.gateway.client_kinds import CLIENTS
from bots.gateway.discovery import SERVICE
from bots.gateway.events import GUEST_LIMIT_BYTES, REQUEST_LIMIT_BYTES, Refused, ask_of
from bots.gateway.platform import Gateway
from shared import names, quota, user_names
from shared.lifecycle import child_environment
from shared.messages import Ask
from tests.fakes.flow import FakeFlow

ANSWER_S = 10.0
"""Long enough for a busy machine."""

QUIET_S = 0.3
"""How long to wait for a message that must not come. A real one takes a tenth of this."""

PROGRAM = (
    "import sys; from bots.gateway.run import main; from shared.settings import Settings; "
    "sys.exit(main(Settings()))"
)

ERROR = "Nats-Service-Error"
CODE = "Nats-Service-Error-Code"


@pytest.fixture
async def client(nats: Any, gateway: Gateway) -> AsyncIterator[Client]:
    """A NATS client with the password."""
    del gateway
    client = await nats_py.connect(nats.url)
    yield client
    await client.close()


def body(user: object, prompt: object) -> bytes:
    return json.dumps({"user_id": user, "prompt": prompt}, ensure_ascii=False).encode()


async def asked(client: Client, data: bytes, **headers: str) -> Msg:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.request(
        names.GATEWAY_SUBJECT, data, timeout=ANSWER_S, headers=named or None
    )


async def dead_letter(client: Client) -> Msg:
    """Waits for a dead letter of the gateway, and returns the newest."""
    js = client.jetstream()
    async with asyncio.timeout(ANSWER_S):
        while True:
            try:
                raw = await js.get_last_msg(names.DLQ, "dlq.prompts")
            except nats_py.js.errors.NotFoundError:
                await asyncio.sleep(0.02)
            else:
                return Msg(client, data=raw.data or b"", headers=raw.headers)


async def test_a_request_is_answered_with_the_text_alone(client: Client) -> None:
    """The request is JSON; the response is the text of the answer, without an error header."""
    answer = await asked(client, body("ada", "hello"))
    assert answer.data == b"echo hello"
    assert not answer.headers


async def test_unknown_fields_are_ignored(client: Client) -> None:
    """A newer client may send more fields."""
    data = json.dumps({"user_id": "ada", "prompt": "hi", "temperature": 1}).encode()
    assert (await asked(client, data)).data == b"echo hi"


async def test_a_number_is_a_user_too(client: Client, flow: FakeFlow) -> None:
    """`user_id` 42 and "42" are the same user."""
    await asked(client, body(42, "one"))
    await asked(client, body("42", "two"))
    assert flow.asked("gateway:42") == {"one": 1, "two": 1}


@pytest.mark.parametrize("name", [".", "*", ">", "a b", "😀", "$JS.API", "a.b.>", "-", "_2E"])
async def test_every_name_is_a_user_of_its_own(client: Client, flow: FakeFlow, name: str) -> None:
    """No name leads to a wildcard or to another user's subject."""
    assert (await asked(client, body(name, f"hello {name}"))).data.decode() == f"echo hello {name}"
    assert flow.asked(user_names.user_of("gateway", name)) == {f"hello {name}": 1}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"hello", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"\xff\xfe{}", "not valid UTF-8"),
        (b"{}", "user_id is missing"),
        (body(None, "x"), "user_id is missing"),
        (b'{"user_id": true, "prompt": "x"}', "user_id is missing"),
        (body("", "x"), "user_id is empty"),
        (body("u" * 201, "x"), "user_id cannot be used"),
        (b'{"user_id": "\\ud800", "prompt": "x"}', "user_id cannot be used"),
        (b'{"user_id": "ada"}', "prompt is missing"),
        (body("ada", 5), "prompt is missing"),
        (body("ada", " \n"), "prompt is empty"),
    ],
)
async def test_bad_input_is_refused_at_once(
    client: Client, flow: FakeFlow, data: bytes, reason: str
) -> None:
    """The refusal says what is wrong, and nothing is stored."""
    answer = await asked(client, data)
    assert answer.headers is not None
    assert reason in answer.headers[ERROR]
    assert answer.data.decode() == answer.headers[ERROR]
    assert answer.headers[CODE] == "400"
    assert flow.events == []


@pytest.mark.parametrize("prompt", ["x" * 300_000, "\u65e5" * 99_000], ids=["chars", "bytes"])
async def test_a_prompt_that_is_too_long_is_refused(client: Client, prompt: str) -> None:
    """With too many characters, or too many bytes for the stream, the error code is 413."""
    answer = await asked(client, body("ada", prompt))
    assert answer.headers is not None
    assert answer.headers[CODE] == "413"
    assert (await asked(client, body("ada", "short"))).data == b"echo short"


@pytest.mark.parametrize("guest", [True, False])
def test_a_request_larger_than_any_question_is_not_parsed(*, guest: bool) -> None:
    """Parsing it would delay everybody else."""

    def asked_as(data: bytes) -> Ask:
        return ask_of(data, {}, "_INBOX.x", guest=guest, now=datetime.now(UTC), fresh_id="1")

    limit = GUEST_LIMIT_BYTES if guest else REQUEST_LIMIT_BYTES
    nested = b'{"user_id":"ada","prompt":"hi","more":[%s[]]}'
    assert asked_as(nested % (b"[]," * 20_000)).text == "hi"
    with pytest.raises(Refused) as error:
        asked_as(nested % (b"[]," * (limit // 3)))
    assert error.value.code == "413"
    assert f"{limit:,}" in error.value.reason


async def test_a_failure_notice_is_in_body_and_header(client: Client) -> None:
    """A client that ignores headers reads the notice as the answer."""
    answer = await asked(client, body("ada", "fail please"))
    assert answer.data == b"The model cannot be reached."
    assert answer.headers == {ERROR: "The model cannot be reached.", CODE: "503"}


@pytest.mark.parametrize(
    "reply", ["prompts.slack.x", "$JS.API.INFO", "_INBOX", "replies.slack.x.y", "x._INBOX.y"]
)
async def test_a_reply_subject_that_is_not_an_inbox_gets_nothing(
    client: Client, flow: FakeFlow, reply: str
) -> None:
    """The request becomes a dead letter, so nobody can make the gateway publish to a stream."""
    seen = await client.subscribe(reply)
    await client.publish("prompts", body("eve", "take over"), reply=reply)
    letter = await dead_letter(client)
    assert letter.data == body("eve", "take over")
    assert (letter.headers or {})["Threadwax-Reason"] == "the reply subject is not an inbox"
    with pytest.raises(TimeoutError):
        await seen.next_msg(timeout=QUIET_S)
    assert flow.events == []


@pytest.mark.parametrize("reply", ["_INBOX.*", "_INBOX.>", "_INBOX.a.*"])
async def test_a_wildcard_is_not_an_inbox(client: Client, flow: FakeFlow, reply: str) -> None:
    """No answer goes to a literal wildcard subject."""
    await client.publish("prompts", body("eve", "everywhere"), reply=reply)
    letter = await dead_letter(client)
    assert (letter.headers or {})["Threadwax-Reason"] == "the reply subject is not an inbox"
    assert flow.events == []


async def test_a_plain_publish_becomes_a_dead_letter(client: Client, flow: FakeFlow) -> None:
    """Without a reply subject nobody would get the answer, so the model is not asked."""
    await client.publish("prompts", body("eve", "nobody listens"))
    letter = await dead_letter(client)
    assert (letter.headers or {})["Threadwax-Reason"] == "no reply subject"
    assert flow.events == []


async def test_a_repeated_request_gets_the_same_answer(client: Client, flow: FakeFlow) -> None:
    """A message id is asked once; each request with it gets the answer in its own inbox."""
    for _ in range(3):
        answer = await asked(client, body("ada", "once"), Nats_Msg_Id="order 66")
        assert answer.data == b"echo once"
    assert flow.asked("gateway:ada") == {"once": 1}


async def test_a_repeat_before_the_answer_waits_for_it(client: Client, flow: FakeFlow) -> None:
    """A client that repeats a request while the model is working gets the answer, too."""
    first = asyncio.create_task(asked(client, body("ada", "wait"), Nats_Msg_Id="1"))
    await flow.until_asked("wait")
    second = asyncio.create_task(asked(client, body("ada", "wait"), Nats_Msg_Id="1"))
    await client.flush()
    flow.release()
    assert [(await first).data, (await second).data] == [b"echo wait"] * 2
    assert flow.asked("gateway:ada") == {"wait": 1}


async def test_a_message_id_belongs_to_its_user(client: Client) -> None:
    """The same message id of two users means two questions, even if their names are similar."""
    one = await asked(client, body("a", "one"), Nats_Msg_Id="b-c")
    two = await asked(client, body("a-b", "two"), Nats_Msg_Id="c")
    assert [one.data, two.data] == [b"echo one", b"echo two"]


async def test_a_long_message_id_still_dedupes(client: Client, flow: FakeFlow) -> None:
    """An id longer than ours is hashed, and still identifies the question."""
    for _ in range(2):
        answer = await asked(client, body("ada", "long id"), Nats_Msg_Id="é" * 500)
        assert answer.data == b"echo long id"
    assert flow.asked("gateway:ada") == {"long id": 1}


async def test_one_users_questions_are_stored_in_order(client: Client, flow: FakeFlow) -> None:
    """The order is kept for many questions at once, from several inboxes."""
    prompts = [f"question {number}" for number in range(200)]
    await asyncio.gather(*(asked(client, body("ada", prompt)) for prompt in prompts))
    assert list(flow.asked("gateway:ada")) == prompts


@pytest.mark.parametrize(
    ("escaped", "repaired"),
    [("a\\ud800", "a\ufffd"), ("\\udc00b", "\ufffdb"), ("\\ud83d\\ude00", "😀"),
     ("\\ude00\\ud83d", "\ufffd\ufffd")],
)  # fmt: skip
async def test_half_a_surrogate_pair_in_a_prompt_is_replaced(
    client: Client, escaped: str, repaired: str
) -> None:
    """JSON can contain such a half, but UTF-8 cannot. The other characters are kept."""
    data = f'{{"user_id": "ada", "prompt": "{escaped}"}}'.encode()
    assert (await asked(client, data)).data.decode() == f"echo {repaired}"


async def test_only_the_beginning_of_an_unanswerable_request_is_kept(
    client: Client, flow: FakeFlow
) -> None:
    """Otherwise many such requests could fill the stream of dead letters."""
    await client.publish("prompts", body("eve", "x" * 100_000))
    assert (await dead_letter(client)).data == body("eve", "x" * 100_000)[:4096]
    assert flow.events == []


async def test_a_user_over_quota_is_refused_with_the_reason(
    client: Client, gateway: Gateway, flow: FakeFlow
) -> None:
    """Header and body say so. Others are still answered, and so are repeated requests."""
    assert (await asked(client, body("ada", "one"), Nats_Msg_Id="1")).data == b"echo one"
    quotas = gateway._clients._bus._event_quotas
    almost_all = quota.EVENT_QUOTA_BYTES - quota.EVENT_MIN_BYTES
    assert quotas.take("gateway:ada", almost_all, time.monotonic())
    answer = await asked(client, body("ada", "two"))
    assert answer.headers is not None
    assert answer.headers[CODE] == "429"
    assert answer.data.decode() == answer.headers[ERROR]
    assert "the daily quota of this user_id is used up" in answer.headers[ERROR]
    assert (await asked(client, body("ada", "one"), Nats_Msg_Id="1")).data == b"echo one"
    assert (await asked(client, body("bob", "three"))).data == b"echo three"
    assert flow.asked("gateway:ada") == {"one": 1}


async def test_one_users_repeats_leave_room_for_others(client: Client, flow: FakeFlow) -> None:
    """A retry storm is refused above a limit; another user's repeat is still answered."""
    storm = [
        asyncio.create_task(asked(client, body("ada", "wait"), Nats_Msg_Id="1"))
        for _ in range(CLIENTS.repeats_limit_per_user + 20)
    ]
    other = [
        asyncio.create_task(asked(client, body("bob", "wait too"), Nats_Msg_Id="1"))
        for _ in range(2)
    ]
    await flow.until_asked("wait")
    done, _ = await asyncio.wait(storm, return_when=asyncio.FIRST_COMPLETED)
    assert (done.pop().result().headers or {})[CODE] == "429"
    await flow.until_asked("wait too")
    flow.release()
    assert {(await task).data for task in other} == {b"echo wait too"}
    answers = [(await task).data for task in storm]
    assert answers.count(b"echo wait") > CLIENTS.repeats_limit_per_user // 2


async def test_many_users_are_answered_at_the_same_time(client: Client) -> None:
    """Each of two hundred users gets their own answer."""
    answers = await asyncio.gather(
        *(asked(client, body(f"user{n}", f"question {n}")) for n in range(200))
    )
    assert [a.data.decode() for a in answers] == [f"echo question {n}" for n in range(200)]


async def test_a_slow_answer_delays_nobody_else(client: Client, flow: FakeFlow) -> None:
    """Another user's question is answered meanwhile."""
    slow = asyncio.create_task(asked(client, body("slow", "wait here")))
    await flow.until_asked("wait here")
    assert (await asked(client, body("quick", "now"))).data == b"echo now"
    assert not slow.done()
    flow.release()
    assert (await slow).data == b"echo wait here"


@pytest.mark.parametrize("verb", ["PING", "INFO", "STATS"])
async def test_the_nats_command_finds_the_gateway(client: Client, verb: str) -> None:
    """The gateway responds as a NATS micro service, but only to inboxes."""
    found = json.loads((await client.request(f"$SRV.{verb}", timeout=ANSWER_S)).data)
    assert found["name"] == SERVICE
    assert found["type"] == f"io.nats.micro.v1.{verb.lower()}_response"
    seen = await client.subscribe("prompts.slack.x")
    await client.publish(f"$SRV.{verb}", b"", reply="prompts.slack.x")
    with pytest.raises(TimeoutError):
        await seen.next_msg(timeout=QUIET_S)


async def test_the_process_reports_when_it_is_ready_and_stops_cleanly(
    nats: Any, flow: FakeFlow
) -> None:
    """The process logs its address, serves its status, answers, and exits with 0 on SIGTERM."""
    del flow
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM),
        env={
            **os.environ,
            **child_environment(),
            "NATS_URL": nats.url,
            "THREADWAX_HTTP_PORT": "0",
        },
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(ANSWER_S):
            ready = (await process.stdout.readline()).decode().split()
        assert ready[0] == "READY"
        assert "`prompts`," in ready
        async with aiohttp.ClientSession() as http, http.get(f"{ready[-1]}/readyz") as page:
            assert (page.status, await page.text()) == (200, "ok\n")
        client = await nats_py.connect(nats.url)
        assert (await asked(client, body("ada", "hello"))).data == b"echo hello"
        await client.close()
        process.terminate()
        async with asyncio.timeout(ANSWER_S):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
