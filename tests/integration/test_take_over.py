"""A data folder of an older version, whose streams were in the server's default account."""

import asyncio
import contextlib
import http.client
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

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
    """A question, and three replies of which one is acknowledged."""
    await bus.js.publish("prompts.slack.T1", b"question", headers={"Nats-Msg-Id": "slack-1"})
    for number in range(3):
        await bus.js.publish(f"replies.slack.T1.{number}", b"reply")
    pull = await bus.js.pull_subscribe_bind(consumer="slack", stream=names.REPLIES)
    (message,) = await pull.fetch(1, timeout=5)
    await message.ack_sync()


async def as_it_was(bus: Bus) -> None:
    """Messages, ids and consumers are those of `store`."""
    assert (await bus.js.get_msg(names.PROMPTS, 1)).data == b"question"
    again = await bus.js.publish("prompts.slack.T1", b"x", headers={"Nats-Msg-Id": "slack-1"})
    assert again.duplicate
    assert (await bus.js.stream_info(names.REPLIES)).state.messages == 3
    consumer = await bus.js.consumer_info(names.REPLIES, "slack")
    assert consumer.config.filter_subject == "replies.slack.>"


async def as_it_was_acknowledged(bus: Bus) -> None:
    """The consumer's position, too. After SIGKILL the server may not have it on disk."""
    await as_it_was(bus)
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


def older_version(folder: Path, *, kill: bool) -> None:
    """Runs a server as older versions configured it, with something stored."""
    folder.mkdir(parents=True, exist_ok=True)
    port, monitor = free_port(), free_port()
    config = folder / "older.conf"
    config.write_text(OLDER_CONFIG.format(host=HOST, port=port, monitor=monitor, folder=folder))
    process = subprocess.Popen(
        [binary(), "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"nats://threadwax:older@{HOST}:{port}"

    async def use() -> None:
        await set_up_streams(url)
        bus = await Bus.connect(url, name="older")
        await store(bus)
        await bus.close()

    try:
        until_healthy(monitor)
        asyncio.run(use())
    finally:
        (process.kill if kill else process.terminate)()
        process.wait()


def used(server: NatsServer, use: Callable[[Bus], object]) -> None:
    async def run() -> None:
        await set_up_streams(server.url)
        bus = await Bus.connect(server.url, name="newer")
        await use(bus)  # type: ignore[misc]
        await bus.close()

    asyncio.run(run())


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_what_an_older_version_stored_is_there(tmp_path: Path, kill: bool) -> None:
    """Messages, message ids and consumers, after the first start and after the next."""
    older_version(tmp_path, kill=kill)
    assert (tmp_path / "js" / "jetstream" / "$G").is_dir()
    for _ in range(2):
        server = NatsServer(tmp_path, port=0)
        server.start()
        used(server, as_it_was if kill else as_it_was_acknowledged)
        (server.kill if kill else server.stop)()
        server.close()
    assert not (tmp_path / "js" / "jetstream" / "$G" / "streams").exists()


def test_a_crash_right_after_the_rename_loses_nothing(tmp_path: Path) -> None:
    """The next start finds the streams where they belong."""
    older_version(tmp_path, kill=True)
    first = NatsServer(tmp_path, port=0)
    first._migrate_account()
    first.close()
    second = NatsServer(tmp_path, port=0)
    second.start()
    used(second, as_it_was)
    second.close()


def test_two_sets_of_streams_are_both_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after an upgrade, an older version's folder put back, and another start: it says so."""
    older_version(tmp_path / "older", kill=False)
    newer = NatsServer(tmp_path / "home", port=0)
    newer.start()
    used(newer, store)
    newer.close()
    (tmp_path / "older" / "js" / "jetstream" / "$G").rename(
        tmp_path / "home" / "js" / "jetstream" / "$G"
    )
    capsys.readouterr()
    server = NatsServer(tmp_path / "home", port=0)
    server.start()
    used(server, as_it_was)
    server.close()
    assert "this folder has messages of an older version" in capsys.readouterr().err
    (aside,) = (tmp_path / "home").glob("older-version-*")
    assert (aside / "streams" / names.PROMPTS).is_dir()
