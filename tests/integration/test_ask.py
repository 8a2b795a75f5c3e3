"""`threadwax ask` with a service on `prompts`, without one, and without NATS."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from nats.aio.msg import Msg

from ops import ask
from ops.nats_server import NatsServer
from shared import names
from shared.bus import Bus
from shared.private_file import private_file
from tests.fakes.flow import FakeFlow
from tests.fakes.greeter import Greeter, info
from tests.terminals import Typed


async def asked(url: str, timeout_s: float = 5.0) -> int:
    return await ask._ask(url, "ada", "héllo", timeout_s)


@pytest.mark.parametrize("guest", [False, True])
async def test_the_answer_is_printed(
    nats: NatsServer, capsys: pytest.CaptureFixture[str], guest: bool
) -> None:
    """The request contains user and prompt; stdout contains only the text of the answer."""
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


async def test_a_refusal_goes_to_stderr(
    nats: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A service error is printed, and the exit code is 1."""
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
async def test_without_a_gateway_it_says_what_to_start(
    nats: NatsServer, capsys: pytest.CaptureFixture[str], guest: bool
) -> None:
    assert await asked(nats.guest_url if guest else nats.url) == 1
    assert "nobody listens on prompts: start `threadwax up`" in capsys.readouterr().err


async def test_without_nats_it_names_the_server_it_tried(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The password is not shown."""
    assert await asked("nats://me:secret@127.0.0.1:9") == 1
    errors = capsys.readouterr().err
    assert "127.0.0.1:9 cannot be used" in errors
    assert "secret" not in errors


async def test_a_suspended_server_does_not_have_to_be_started(
    nats: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what is wrong with the one that is there."""
    assert nats.pid is not None
    os.kill(nats.pid, signal.SIGSTOP)
    try:
        assert await asked(nats.url) == 1
    finally:
        os.kill(nats.pid, signal.SIGCONT)
    assert "cannot be used: it does not answer in time. " in capsys.readouterr().err


@pytest.mark.parametrize(
    "url",
    ["tls://me:secret@127.0.0.1:{port}", "nats://me:secret@127.0.0.1:{port}#threadwax-ab12"],
    ids=["no TLS", "not the folder's own"],
)
async def test_the_password_is_sent_to_its_own_server_only(
    capsys: pytest.CaptureFixture[str], url: str
) -> None:
    """Neither a server without TLS nor another program on the embedded server's port gets it."""
    async with Greeter(info(server_name="somebody-else")) as other:
        assert await asked(url.format(port=other.port)) == 1
        assert b"secret" not in other.heard
        assert f"127.0.0.1:{other.port}" in capsys.readouterr().err


async def test_control_sequences_are_removed(
    nats: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither an answer nor a refusal can control a terminal, not even through a pipe."""
    bus = await Bus.connect(nats.url, name="gateway")

    async def answer(message: Msg) -> None:
        headers = {"Nats-Service-Error": "no \x1b[31mway"} if b"fail" in message.data else None
        await bus.client.publish(message.reply, FakeFlow.RAW.encode(), headers=headers)

    await bus.client.subscribe(names.GATEWAY_SUBJECT, cb=answer)
    await bus.client.flush()
    assert await asked(nats.url) == 0
    assert await ask._ask(nats.url, "ada", "fail", 5.0) == 1
    assert capsys.readouterr() == (FakeFlow.RAW_SHOWN + "\n", "no way\n")
    await bus.close()


async def test_a_terminal_shows_why_the_answer_takes_long(
    nats: NatsServer, gateway: Any, flow: FakeFlow, tmp_path: Path
) -> None:
    """Each reason from the dataflow appears on its own line, and the answer after them."""
    del gateway
    private_file(tmp_path / "home" / "nats" / "url", nats.url)
    environment = {key: value for key, value in os.environ.items() if key != "NATS_URL"}
    command = [sys.executable, "-m", "ops", "ask", "--user", "ada", "slow"]
    with Typed(command, {**environment, "THREADWAX_HOME": str(tmp_path / "home")}) as typed:
        await typed.until("\n".join(FakeFlow.REASONS))
        flow.release()
        assert await typed.ended() == 0
        assert typed.shown == "\n".join([*FakeFlow.REASONS, "echo slow"])


async def test_a_plain_request_gets_only_the_answer(
    nats: NatsServer, gateway: Any, flow: FakeFlow
) -> None:
    """The reasons for a wait are not sent to it."""
    del gateway
    bus = await Bus.connect(nats.url, name="ask")
    inbox = bus.client.new_inbox()
    answers = await bus.client.subscribe(inbox)
    await bus.client.publish(names.GATEWAY_SUBJECT, b'{"user_id":"ada","prompt":"slow"}', inbox)
    await flow.until_asked("slow")
    flow.release()
    assert (await answers.next_msg(timeout=10)).data == b"echo slow"
    await bus.client.flush()
    assert answers.pending_msgs == 0
    await bus.close()


async def test_a_terminal_shows_that_it_waits_if_nothing_is_reported(
    nats: NatsServer, tmp_path: Path
) -> None:
    """One line is printed; Ctrl-C ends the command without a traceback."""
    bus = await Bus.connect(nats.url, name="gateway")

    async def ignore(_: Msg) -> None:
        """Leaves the request unanswered."""

    await bus.client.subscribe(names.GATEWAY_SUBJECT, cb=ignore)
    await bus.client.flush()
    code = (
        "import sys; from ops import ask; from shared.settings import Settings;"
        "ask.STILL_WAITING_S = 0.2; sys.exit(ask.main(Settings(), 'ada', 'hi', 60))"
    )
    environment = {**os.environ, "NATS_URL": nats.url, "THREADWAX_HOME": str(tmp_path)}
    with Typed([sys.executable, "-c", code], environment, columns=120) as typed:
        await typed.until("Still waiting for the answer")
        typed.type("\x03")
        assert await typed.ended() == 130
        assert "Traceback" not in typed.shown
    await bus.close()
