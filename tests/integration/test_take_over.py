"""Upgrading a data folder of an older version, whose streams are in the default account."""

import asyncio
import contextlib
import http.client
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.former_account import move_former_account
from ops.nats import set_up_streams
from ops.nats_server import NatsServer, binary
from ops.ports import HOST, free_port
from shared import names
from shared.bus import Bus

DEADLINE_S = 20.0

OLDER_CONFIG = """
host: {host}
port: {port}
http: "{host}:{monitor}"
jetstream {{ store_dir: "{folder}/js", sync_interval: always }}
authorization {{ users: [ {{ user: threadwax, password: older }} ] }}
"""


async def store(bus: Bus) -> None:
    """Stores a question and three replies, and acknowledges one of them."""
    await bus.js.publish("prompts.slack.T1", b"question", headers={"Nats-Msg-Id": "slack-1"})
    for number in range(3):
        await bus.js.publish(f"replies.slack.T1.{number}", b"reply")
    pull = await bus.js.pull_subscribe_bind(consumer="slack", stream=names.REPLIES)
    (message,) = await pull.fetch(1, timeout=5)
    await message.ack_sync()


async def check_unchanged(bus: Bus) -> None:
    """Checks that messages, message ids and consumers are those of `store`."""
    assert (await bus.js.get_msg(names.PROMPTS, 1)).data == b"question"
    again = await bus.js.publish("prompts.slack.T1", b"x", headers={"Nats-Msg-Id": "slack-1"})
    assert again.duplicate
    assert (await bus.js.stream_info(names.REPLIES)).state.messages == 3
    consumer = await bus.js.consumer_info(names.REPLIES, "slack")
    assert consumer.config.filter_subject == "replies.slack.>"


async def check_unchanged_with_position(bus: Bus) -> None:
    """Also checks the consumer's position, which may not be on the disk after a SIGKILL."""
    await check_unchanged(bus)
    consumer = await bus.js.consumer_info(names.REPLIES, "slack")
    assert consumer.ack_floor is not None
    assert consumer.ack_floor.stream_seq == 1


def until_healthy(monitor: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        connection = http.client.HTTPConnection(HOST, monitor, timeout=2)
        with contextlib.suppress(OSError):
            connection.request("GET", "/healthz")
            if connection.getresponse().status == http.HTTPStatus.OK:
                connection.close()
                return
        connection.close()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def run_older_version(folder: Path, *, kill: bool) -> None:
    """Runs a server with the config of older versions, and stores messages."""
    folder.mkdir(parents=True, exist_ok=True)
    port, monitor = free_port(), free_port()
    config = folder / "older.conf"
    config.write_text(OLDER_CONFIG.format(host=HOST, port=port, monitor=monitor, folder=folder))
    process = subprocess.Popen(
        [binary(), "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"nats://threadwax:older@{HOST}:{port}"

    async def fill() -> None:
        await set_up_streams(url)
        bus = await Bus.connect(url, name="older")
        await store(bus)
        await bus.close()

    try:
        until_healthy(monitor)
        asyncio.run(fill())
    finally:
        (process.kill if kill else process.terminate)()
        process.wait()


def with_bus(server: NatsServer, use: Callable[[Bus], object]) -> None:
    async def run() -> None:
        await set_up_streams(server.url)
        bus = await Bus.connect(server.url, name="newer")
        await use(bus)  # type: ignore[misc]
        await bus.close()

    asyncio.run(run())


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_data_of_an_older_version_is_kept(tmp_path: Path, kill: bool) -> None:
    """Messages, message ids and consumers exist after the first start and after the next one."""
    run_older_version(tmp_path, kill=kill)
    assert (tmp_path / "js" / "jetstream" / "$G").is_dir()
    for _ in range(2):
        server = NatsServer(tmp_path, port=0)
        server.start()
        with_bus(server, check_unchanged if kill else check_unchanged_with_position)
        (server.kill if kill else server.stop)()
        server.close()
    assert not (tmp_path / "js" / "jetstream" / "$G" / "streams").exists()


def test_a_crash_right_after_the_migration_loses_nothing(tmp_path: Path) -> None:
    """The next start finds the streams in their new account."""
    run_older_version(tmp_path, kill=True)
    first = NatsServer(tmp_path, port=0)
    move_former_account(tmp_path, print)
    first.close()
    second = NatsServer(tmp_path, port=0)
    second.start()
    with_bus(second, check_unchanged)
    second.close()


def test_two_sets_of_streams_are_both_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both exist if an older version's data is put back after an upgrade; a message says so."""
    run_older_version(tmp_path / "older", kill=False)
    newer = NatsServer(tmp_path / "home", port=0)
    newer.start()
    with_bus(newer, store)
    newer.close()
    (tmp_path / "older" / "js" / "jetstream" / "$G").rename(
        tmp_path / "home" / "js" / "jetstream" / "$G"
    )
    capsys.readouterr()
    server = NatsServer(tmp_path / "home", port=0)
    server.start()
    with_bus(server, check_unchanged)
    server.close()
    assert "this folder has messages of an older version" in capsys.readouterr().err
    (aside,) = (tmp_path / "home").glob("older-version-*")
    assert (aside / "streams" / names.PROMPTS).is_dir()
