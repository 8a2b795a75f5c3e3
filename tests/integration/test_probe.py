"""`python -m ops.probe`, the health check of containers, with real adapters."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from ops.nats_server import NatsServer
from ops.ports import free_port
from tests.fakes.discord import FakeDiscord
from tests.fakes.slack import APP_TOKEN, BOT_TOKEN, FakeSlack
from tests.running import ROOT, Running

DEADLINE_S: Final = 60.0


def probed(port: int | str, path: str = "/readyz") -> tuple[int, str]:
    """The exit code and the output of the check."""
    done = subprocess.run(
        [sys.executable, "-m", "ops.probe", path], env={"THREADWAX_HTTP_PORT": str(port)},
        cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert not done.stderr
    return done.returncode, done.stdout.strip()


async def until(port: int, path: str, wanted: tuple[int, str]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while await asyncio.to_thread(probed, port, path) != wanted:
            await asyncio.sleep(0.1)


@dataclass
class Adapter:
    """An adapter, and a fake of its platform that is down until a test starts it."""

    running: Running
    fake: FakeSlack | FakeDiscord
    platform_port: int
    status_port: int


@pytest.fixture(params=["slack", "discord"])
async def adapter(
    request: pytest.FixtureRequest, nats: NatsServer, tmp_path: Path
) -> AsyncIterator[Adapter]:
    port, status_port = free_port(), free_port()
    fake = FakeSlack() if request.param == "slack" else FakeDiscord()
    base = f"http://127.0.0.1:{port}"
    env = {
        "NATS_URL": nats.url,
        "THREADWAX_HOME": str(tmp_path),
        "THREADWAX_HTTP_PORT": str(status_port),
    }
    if isinstance(fake, FakeSlack):
        env |= {"SLACK_API_URL": f"{base}/api/"}
        env |= {"SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_APP_TOKEN": APP_TOKEN}
    else:
        env |= {"DISCORD_TOKEN": fake.token, "DISCORD_API_URL": f"{base}/api/v10"}
        env |= {"DISCORD_GATEWAY_URL": f"ws://127.0.0.1:{port}/gateway"}
    running = Running(request.param, log=tmp_path / "log", env=env).start()
    try:
        yield Adapter(running, fake, port, status_port)
    finally:
        running.kill()


async def test_an_adapter_is_ready_once_its_platform_answers(
    adapter: Adapter, nats: NatsServer
) -> None:
    """Before that it is alive but not ready, so `docker compose up --wait` waits.

    It is not ready while NATS is down, either.
    """
    assert probed(adapter.status_port)[0] == 1
    await until(adapter.status_port, "/healthz", (0, "ok"))
    code, reason = probed(adapter.status_port)
    assert code == 1
    assert "not connected to" in reason
    await adapter.fake.start(adapter.platform_port)
    try:
        await until(adapter.status_port, "/readyz", (0, "ok"))
        await asyncio.to_thread(nats.kill)
        await until(adapter.status_port, "/readyz", (1, "NATS does not answer"))
        assert probed(adapter.status_port, "/healthz") == (0, "ok")
    finally:
        await adapter.fake.stop()


def test_without_a_status_server_the_check_fails() -> None:
    """One line gives the reason, without a traceback."""
    port = free_port()
    code, reason = probed(port)
    assert code == 1
    assert reason.startswith(f"nothing answers on port {port}: ")
    for wrong in ("", "x", "99999"):
        code, reason = probed(wrong)
        assert code == 1
        assert len(reason.splitlines()) == 1


async def test_with_another_kind_of_server_the_check_fails() -> None:
    """The server closes the connection, speaks another protocol, or answers with an error."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")  # closed with unread data, a socket sends a reset
        writer.write(next(answers))
        writer.close()

    answers = iter((b"", b"\xff\xfe\n", b"HTTP/1.1 503 Service Unavailable\r\n\r\nno room\n"))
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        for shown in ("", "\ufffd\ufffd", "no room"):
            assert await asyncio.to_thread(probed, port) == (1, shown)
