"""`threadwax ask` against whatever listens on `prompts`, or nobody."""

import asyncio
import json

import pytest
from nats.aio.msg import Msg

from ops import ask
from ops.nats_server import NatsServer
from shared import names
from shared.bus import Bus


async def asked(url: str, timeout_s: float = 5.0) -> int:
    return await ask._ask(url, "ada", "héllo", timeout_s)


@pytest.mark.parametrize("guest", [False, True])
async def test_answer_is_printed(
    nats: NatsServer, capsys: pytest.CaptureFixture[str], guest: bool
) -> None:
    """The question goes out as user and prompt; the answer's text is all of stdout."""
    bus = await Bus.connect(nats.url, name="gateway")
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def answer(message: Msg) -> None:
        heard.put_nowait(message.data)
        await message.respond(b"hello, ada")

    await bus.client.subscribe(names.GUESTS_SUBJECT if guest else names.GATEWAY_SUBJECT, cb=answer)
    await bus.client.flush()
    assert await asked(nats.guest_url if guest else nats.url) == 0
    assert json.loads(heard.get_nowait()) == {"user_id": "ada", "prompt": "héllo"}
    assert capsys.readouterr().out == "hello, ada\n"
    await bus.close()


async def test_refusal_goes_to_stderr(nats: NatsServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A service error is a message and exit code 1."""
    bus = await Bus.connect(nats.url, name="gateway")

    async def refuse(message: Msg) -> None:
        headers = {"Nats-Service-Error": "too long", "Nats-Service-Error-Code": "400"}
        await bus.client.publish(message.reply, b"too long", headers=headers)

    await bus.client.subscribe(names.GATEWAY_SUBJECT, cb=refuse)
    await bus.client.flush()
    assert await asked(nats.url) == 1
    assert capsys.readouterr() == ("", "too long\n")
    await bus.close()


@pytest.mark.parametrize("guest", [False, True])
async def test_nobody_listens(
    nats: NatsServer, capsys: pytest.CaptureFixture[str], guest: bool
) -> None:
    """It says at once what to start."""
    assert await asked(nats.guest_url if guest else nats.url) == 1
    assert "nobody listens on prompts: start `threadwax up`" in capsys.readouterr().err


async def test_no_nats(capsys: pytest.CaptureFixture[str]) -> None:
    """It says which server it tried, without the password."""
    assert await asked("nats://me:secret@127.0.0.1:9") == 1
    told = capsys.readouterr().err
    assert "127.0.0.1:9 cannot be used" in told
    assert "secret" not in told
