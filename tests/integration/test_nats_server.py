"""The embedded server as a process: its folder, port and guests, crashes, and a full disk."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nats as client
import pytest
from nats.aio.msg import Msg

from ops import nats_server, ports
from ops.nats_server import DidNotStart, NatsServer
from ops.ports import is_free
from shared import lifecycle, names
from shared.bus import Bus
from shared.connection import Unavailable
from shared.lock import AlreadyRunning, running
from shared.settings import Settings

DEADLINE_S = 30


def command(*arguments: str, home: Path, **extra: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "THREADWAX_HOME": str(home),
        lifecycle.SUPERVISED_ENV: "1",
        **extra,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "ops", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def line_with(process: subprocess.Popen[str], *parts: str) -> str:
    """The next line of output that contains these parts; fails if the process ends first."""
    assert process.stdout
    for line in process.stdout:
        if all(part in line for part in parts):
            return line
    raise AssertionError(f"it ended without printing {parts}: {process.communicate()}")


def within_deadline(*, of: str, deadline_s: float = DEADLINE_S) -> Iterator[None]:
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        yield
        time.sleep(0.02)
    raise AssertionError(f"not within {deadline_s} s: {of}")


@contextlib.contextmanager
def killed_at_the_end(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_second_server_on_a_folder_names_the_first(nats: NatsServer, tmp_path: Path) -> None:
    """Two servers on one folder would destroy it, so the second one ends."""
    assert nats.pid
    with pytest.raises(AlreadyRunning, match=str(os.getpid())):
        NatsServer(tmp_path / "nats-home" / "nats", port=0)
    second = command("nats", home=tmp_path / "nats-home")
    _, errors = second.communicate(timeout=DEADLINE_S)
    assert second.returncode != 0
    assert f"process {os.getpid()} already runs a NATS server" in errors


def test_port_and_password_survive_a_restart(tmp_path: Path) -> None:
    """Clients reconnect to the same address."""
    first = NatsServer(tmp_path, port=0)
    first.start()
    url = first.url
    first.close()
    second = NatsServer(tmp_path)
    assert second.url == url
    second.close()


def test_a_taken_port_is_replaced_by_a_free_one(tmp_path: Path) -> None:
    """Another program now uses the port of the last start."""
    first = NatsServer(tmp_path, port=0)
    first.start()
    first.close()
    with socket.socket() as other:
        other.bind(("127.0.0.1", first.port))
        other.listen()
        second = NatsServer(tmp_path)
        assert second.port != first.port
        assert is_free(second.port)
        second.close()


@pytest.mark.parametrize("which", ["port", "monitor_port"])
def test_a_port_that_is_taken_during_the_start_is_replaced(tmp_path: Path, which: str) -> None:
    """Between the choice of a port and its use, another program can take it."""
    server = NatsServer(tmp_path, port=0)
    with socket.socket() as other:
        other.bind(("127.0.0.1", getattr(server, which)))
        other.listen()
        with pytest.raises(DidNotStart):
            server.start()
        assert server.choose_again()
        server.start()
    server.close()


def test_a_port_that_was_asked_for_is_never_replaced(tmp_path: Path) -> None:
    port = ports.free_port()
    server = NatsServer(tmp_path, port=port)
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(DidNotStart):
            server.start()
        assert not server.choose_again()
        assert server.port == port
    server.close()


def test_a_taken_port_that_was_asked_for_is_reported_and_not_remembered(tmp_path: Path) -> None:
    """A later start without a port uses the last one that worked."""
    first = NatsServer(tmp_path, port=0)
    first.start()
    first.close()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(DidNotStart, match=f"port {taken} of 127.0.0.1 is taken by another"):
            NatsServer(tmp_path, port=taken)
        process = command("nats", "--port", str(taken), home=tmp_path / "home")
        _, errors = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == lifecycle.CANNOT_START
        assert f"port {taken} of 127.0.0.1 is taken" in errors
        assert "Traceback" not in errors
    again = NatsServer(tmp_path)
    assert again.port == first.port
    again.close()


def test_a_lack_of_free_ports_is_reported_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        monkeypatch.setattr(ports, "FREE_PORTS", range(taken, taken + 1))
        with pytest.raises(ports.NoFreePort, match=f"no port from {taken} to {taken}"):
            NatsServer(tmp_path, port=0)
    NatsServer(tmp_path).close()  # the lock was released


def test_the_reason_comes_from_this_start(tmp_path: Path) -> None:
    """Log lines of an earlier start are not shown as the reason."""
    server = NatsServer(tmp_path, port=0)
    server.start()
    server.stop()
    (tmp_path / "js").rename(tmp_path / "js-aside")
    (tmp_path / "js").write_text("not a folder")
    with pytest.raises(DidNotStart) as raised:
        server.start()
    assert "not a directory" in str(raised.value).lower()
    assert "Server is ready" not in str(raised.value)
    server.close()


@pytest.mark.parametrize(
    "name", ['with "quotes"', "back\\slash", "dollar $HOME", "d\u00e9j\u00e0 # vu"]
)
def test_a_folder_can_have_any_name(tmp_path: Path, name: str) -> None:
    """The name is quoted in the config."""
    server = NatsServer(tmp_path / name, port=0)
    server.start()
    assert (tmp_path / name / "js").is_dir()
    assert (tmp_path / name / "nats.pid").exists()
    server.close()


def test_only_the_owner_can_read_files_with_secrets(nats: NatsServer, tmp_path: Path) -> None:
    """Nobody else on the machine can read the password."""
    folder = tmp_path / "nats-home" / "nats"
    assert nats.pid
    for name in ("password", "nats.conf"):
        assert (folder / name).stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0


async def test_a_guest_gets_an_answer(nats: NatsServer) -> None:
    """A plain client without credentials sends a request on `prompts`."""
    bus = await Bus.connect(nats.url, name="gateway")

    async def answer(message: Msg) -> None:
        await message.respond(b"hello")

    await bus.client.subscribe(names.GUESTS_SUBJECT, cb=answer)
    await bus.client.flush()
    guest = await client.connect(nats.guest_url)
    assert (await guest.request(names.GATEWAY_SUBJECT, b"{}", timeout=5)).data == b"hello"
    await guest.close()
    await bus.close()


async def test_a_guest_can_neither_read_nor_write_anything_else(nats: NatsServer) -> None:
    """A guest reads no stream, partial or answer to others, and writes to no stream."""
    refusals: asyncio.Queue[Exception] = asyncio.Queue()

    async def refused(error: Exception) -> None:
        refusals.put_nowait(error)

    guest = await client.connect(nats.guest_url, error_cb=refused)
    heard = await guest.subscribe("_INBOX.>")
    subjects = (">", "partials.>", "prompts.>", "replies.>", "_INBOX_gateway.>", "$JS.>")
    for subject in subjects:
        await guest.subscribe(subject)
    for subject in ("prompts.slack.T1", "replies.slack.T1.x", "$JS.API.STREAM.INFO.PROMPTS"):
        await guest.publish(subject, b"x")
    for _ in range(len(subjects) + 3):
        assert "permissions violation" in str(await asyncio.wait_for(refusals.get(), 5)).lower()

    bus = await Bus.connect(nats.url, name="relay")
    await bus.js.publish("prompts.slack.T1", b"secret")
    assert (await bus.js.get_msg(names.PROMPTS, 1)).data == b"secret"
    assert (await bus.js.stream_info(names.REPLIES)).state.messages == 0
    await guest.flush()
    assert heard.pending_msgs == 0
    await bus.close()
    await guest.close()


async def test_a_wrong_password_is_refused(nats: NatsServer) -> None:
    """A client with a wrong password does not become a guest."""
    with pytest.raises(Unavailable, match="refuses the user and password"):
        await Bus.connect(f"nats://threadwax:wrong@127.0.0.1:{nats.port}", name="test")


def test_stored_prompts_survive_a_kill(nats: NatsServer) -> None:
    """After SIGKILL, acknowledged messages are still there, and the address is the same."""

    async def publish() -> None:
        bus = await Bus.connect(nats.url, name="test")
        await bus.js.publish("prompts.slack.T1", b"kept")
        await bus.close()

    async def stored() -> bytes | None:
        bus = await Bus.connect(nats.url, name="test")
        message = await bus.js.get_msg(names.PROMPTS, 1)
        await bus.close()
        return message.data

    asyncio.run(publish())
    nats.kill()
    nats.start()
    assert asyncio.run(stored()) == b"kept"


def test_the_command_restarts_a_crashed_server_and_stops_cleanly(tmp_path: Path) -> None:
    """A killed server is restarted; after SIGTERM to the command no process is left."""
    with killed_at_the_end(command("nats", "--port", "0", home=tmp_path)) as process:
        line_with(process, "READY nats://127.0.0.1:")
        assert Settings(THREADWAX_HOME=tmp_path).bus_url().startswith("nats://threadwax:")
        pid_file = tmp_path / "nats" / "nats.pid"
        first = int(pid_file.read_text())
        os.kill(first, signal.SIGKILL)
        line_with(process, "SAY", "is restarted")
        line_with(process, "SAY", "healthy again")
        second = int(pid_file.read_text())
        assert second != first
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0
        assert not running(second)
        # No process uses the old address.
        assert Settings(THREADWAX_HOME=tmp_path).bus_url().startswith("embedded:")


@pytest.mark.skipif(
    sys.platform != "linux", reason="on other systems the next start stops the orphan"
)
@pytest.mark.parametrize("suspended", [False, True])
def test_a_killed_command_leaves_no_server(tmp_path: Path, *, suspended: bool) -> None:
    """SIGKILL to the command ends its server, too, and the folder can be used again."""
    with killed_at_the_end(command("nats", "--port", "0", home=tmp_path)) as process:
        line_with(process, "READY")
        server = int((tmp_path / "nats" / "nats.pid").read_text())
        if suspended:
            os.kill(server, signal.SIGSTOP)  # it can take no signal: the next start ends it
        process.kill()
        process.wait()
        if not suspended:
            for _ in within_deadline(of="the server ends"):
                if not running(server):
                    break
    NatsServer(tmp_path / "nats", port=0).close()


READS_FIRST = """
import http.server, os, re, sys, time

class Starting(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503)
        self.end_headers()
        self.wfile.write(b'{"error":"failed to be ready for connections after 1ms: server"}')

    def log_message(self, *_):
        pass

port = int(re.search(r"http: .127.0.0.1:([0-9]+)", open(sys.argv[2]).read())[1])
server = http.server.HTTPServer(("127.0.0.1", port), Starting)
server.timeout, end = 0.1, time.monotonic() + 4
while time.monotonic() < end:
    server.handle_request()
server.server_close()
os.execv(BINARY, [BINARY, *sys.argv[1:]])
"""
"""A server that reads messages for 4 s. The answer is that of nats-server 2.15.1."""


def test_a_server_that_reads_its_messages_has_as_long_as_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, on a slow disk, each start would be cut off by the deadline."""
    slow = tmp_path / "nats-server"
    program = READS_FIRST.replace("BINARY", repr(nats_server.binary()))
    slow.write_text(f"#!{sys.executable}{program}")
    slow.chmod(0o700)
    monkeypatch.setattr(nats_server, "binary", lambda: str(slow))
    monkeypatch.setattr(nats_server, "START_DEADLINE_S", 2.0)
    said: list[str] = []
    server = NatsServer(tmp_path / "nats", port=0, say=said.append)
    try:
        server.start()
    finally:
        server.close()
    assert said == ["starting   nats-server reads its messages from a slow disk"]


def test_a_suspended_server_stops_cleanly(tmp_path: Path) -> None:
    """It is not killed."""
    server = NatsServer(tmp_path / "nats", port=0)
    try:
        server.start()
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
    finally:
        server.close()
    assert server.exit_code != -signal.SIGKILL
    assert "Server Exiting" in (tmp_path / "nats" / "nats-server.log").read_text()


def test_an_external_server_is_set_up_or_refused_with_a_reason(
    nats: NatsServer, tmp_path: Path
) -> None:
    """`nats --setup-only` lists the streams, and explains why it refuses other partitions."""
    made = command("nats", "--setup-only", home=tmp_path, NATS_URL=nats.url)
    _, errors = made.communicate(timeout=DEADLINE_S)
    assert made.returncode == 0, errors
    assert "PROMPTS" in errors
    assert nats.url.split("@")[0].rsplit(":", 1)[1] not in errors

    async def repartition() -> None:
        bus = await Bus.connect(nats.url, name="test")
        await bus.js.delete_stream(names.PROMPTS)
        await bus.js.add_stream(name=names.PROMPTS, subjects=["prompts.*.*"])
        await bus.close()

    asyncio.run(repartition())
    refused = command("nats", "--setup-only", home=tmp_path, NATS_URL=nats.url)
    _, errors = refused.communicate(timeout=DEADLINE_S)
    assert refused.returncode == 78
    assert "move users between partitions" in errors


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB; skips the test if mounting is not permitted."""
    folder = tmp_path / "small"
    folder.mkdir()
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)],
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a tmpfs is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_full_disk_is_reported_once_and_survived(small_disk: Path) -> None:
    """Writes fail until there is room again; the beginning and the end are one line each."""
    (filler := small_disk / "filler").write_bytes(b"x" * (24 << 20))
    with killed_at_the_end(command("nats", "--port", "0", home=small_disk)) as process:
        line_with(process, "READY")
        url = Settings(THREADWAX_HOME=small_disk).bus_url()

        async def fill() -> int:
            bus = await Bus.connect(url, name="test")
            count = 0
            try:
                while True:
                    await bus.js.publish("prompts.slack.T1", b"x" * 100_000, timeout=2)
                    count += 1
            except (client.errors.Error, TimeoutError):
                return count
            finally:
                await bus.close()

        async def publish_until_stored() -> int:
            bus = await Bus.connect(url, name="test")
            for _ in range(DEADLINE_S):
                with contextlib.suppress(client.errors.Error, TimeoutError):
                    await bus.js.publish("prompts.slack.T1", b"after", timeout=1)
                    break
            count = (await bus.js.stream_info(names.PROMPTS)).state.messages
            await bus.close()
            return count

        stored = asyncio.run(fill())
        assert stored > 100
        line_with(process, "SAY disk full at", "MiB free")
        filler.unlink()
        assert "healthy again" in line_with(process, "SAY"), "one line per change"
        assert asyncio.run(publish_until_stored()) == stored + 1
