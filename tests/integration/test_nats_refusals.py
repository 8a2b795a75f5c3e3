"""How unusable NATS servers are reported. No password is sent to a wrong server."""

import asyncio
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from ops.nats import set_up_streams
from ops.nats_server import NatsServer, binary
from ops.ports import HOST, free_port
from shared import lifecycle, names
from shared.bus import Bus
from shared.connection import Refused, Unavailable
from shared.private_file import private_file
from shared.settings import Settings
from tests.fakes.greeter import Greeter, info
from tests.fakes.model import FakeModel
from tests.restricted_nats import restricted_nats
from tests.running import Running, dataflow

SECRET = "p@ss/w0rd:#?%"  # noqa: S105
NEEDS = f"STREAM.INFO.{names.PROMPTS}"


async def refusal_of(url: str, *, needs: str = "") -> Unavailable:
    """The error of a single try. Also checks that a waiting process gives up only on `Refused`."""
    for _ in range(3):
        with pytest.raises(Unavailable) as raised:
            await asyncio.wait_for(Bus.connect(url, name="test", wait_s=0, needs=needs), 20)
        if "nobody answers" not in str(raised.value):
            break  # else the connection may have closed before the server's reason arrived
    if isinstance(raised.value, Refused):
        with pytest.raises(Refused, match="cannot be used"):
            await asyncio.wait_for(Bus.connect(url, name="test", wait_s=None, needs=needs), 20)
    for part in ("p@ss", "w0rd", quote("p@ss", safe="")):
        assert part not in str(raised.value)
    return raised.value


@pytest.mark.parametrize(
    ("greeting", "reason", "final"),
    [
        (info(version="2.9.25"), "it is nats-server 2.9.25, and 2.12 is needed", True),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "the program on that port is not a NATS server", False),
        (b"220 mail.example ESMTP\r\n", "the program on that port is not a NATS server", False),
        (b"INFO {\r\n", "the program on that port is not a NATS server", False),
        (b"", "it does not answer in time", False),
    ],
)
async def test_each_kind_of_unusable_server_is_named(
    greeting: bytes, reason: str, final: bool
) -> None:
    """None of them receives the credentials."""
    async with Greeter(greeting) as server:
        url = f"nats://me:{quote(SECRET, safe='')}@127.0.0.1:{server.port}"
        error = await refusal_of(url)
        assert reason in str(error)
        assert isinstance(error, Refused) == final
        assert b"pass" not in server.heard


async def test_no_password_is_sent_without_tls() -> None:
    """nats-py would send the password in clear text."""
    async with Greeter(info()) as server:
        url = f"tls://me:{quote(SECRET, safe='')}@127.0.0.1:{server.port}"
        error = await refusal_of(url)
        assert "this server does not offer TLS" in str(error)
        assert isinstance(error, Refused)
        assert server.heard == b""


async def test_a_process_waits_for_a_server_without_free_connections() -> None:
    answer = b"-ERR 'maximum connections exceeded'\r\n"
    async with Greeter(info(), answer=answer) as server:
        error = await refusal_of(f"nats://127.0.0.1:{server.port}")
        assert "it accepts no more connections" in str(error)
        assert not isinstance(error, Refused)


async def test_a_process_waits_for_a_server_that_closes_connections_at_once() -> None:
    """Docker's proxy does so while the server behind it starts."""
    async with Greeter(b"", hang_up=True) as server:
        error = await refusal_of(f"nats://127.0.0.1:{server.port}")
        assert not isinstance(error, Refused)
        assert "is just starting" in str(error)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("nats://127.0.0.1:9", "nobody answers there"),
        ("nats://nowhere.invalid:4222", "its host name is unknown"),
        ("embedded:/nowhere/nats/url", "it is not running"),
    ],
)
async def test_a_process_waits_for_an_unreachable_server(url: str, reason: str) -> None:
    error = await refusal_of(url)
    assert reason in str(error)
    assert not isinstance(error, Refused)


async def test_an_address_without_the_embedded_servers_password_is_named(nats: NatsServer) -> None:
    """The address that `threadwax nats` prints contains no password."""
    error = await refusal_of(nats.guest_url)
    assert isinstance(error, Refused)
    assert "NATS_URL lacks its password" in str(error)
    assert "nats/url" in str(error)


async def test_a_different_server_on_the_embedded_servers_port_gets_no_password(
    nats: NatsServer, tmp_path: Path
) -> None:
    """The process waits for the right server."""
    home = tmp_path / "home"
    settings = Settings.model_validate({"THREADWAX_HOME": home})
    async with Greeter(info(server_name="somebody-else")) as other:
        url = f"nats://threadwax:{quote(SECRET, safe='')}@127.0.0.1:{other.port}#threadwax-ab12"
        private_file(settings.embedded_nats_url_file, url)
        error = await refusal_of(settings.bus_url())
        assert "another server has taken the port" in str(error)
        connecting = asyncio.create_task(Bus.connect(settings.bus_url, name="test", wait_s=None))
        async with asyncio.timeout(20):
            while other.connections < 2:
                await asyncio.sleep(0.02)
        private_file(settings.embedded_nats_url_file, nats.address)
        bus = await asyncio.wait_for(connecting, 20)
        assert bus.server == f"127.0.0.1:{nats.port}"
        assert b"CONNECT" not in other.heard
        await bus.close()


async def test_credentials_can_be_encoded_and_servers_listed(tmp_path: Path) -> None:
    """The password has characters that a URL must encode, and the first server is down."""
    (tmp_path / "conf").write_text(
        json.dumps({"authorization": {"users": [{"user": "a b", "password": SECRET}]}})
    )
    with server(tmp_path / "conf") as port:
        url = f"nats://{quote('a b')}:{quote(SECRET, safe='')}@127.0.0.1:9,127.0.0.1:{port}"
        bus = await Bus.connect(url, name="test", wait_s=20)
        assert bus.server == f"127.0.0.1:9, 127.0.0.1:{port}"
        await bus.client.flush()
        await bus.close()
        wrong = await refusal_of(f"nats://a:{quote(SECRET, safe='')}@127.0.0.1:{port}")
        assert "it refuses the user and password" in str(wrong)
        assert isinstance(wrong, Refused)
        anonymous = await refusal_of(f"nats://127.0.0.1:{port}")
        assert "it requires a user and a password, but NATS_URL has none" in str(anonymous)
        assert isinstance(anonymous, Refused)
        bus = await Bus.connect(url, name="test", wait_s=20)
        await bus.close()
        no_jetstream = await refusal_of(
            url.partition(",")[0].replace(":9", f":{port}"), needs=NEEDS
        )
        assert "it has no JetStream" in str(no_jetstream)


@pytest.mark.parametrize("first", ["hangs", "refuses", "too old", "not NATS"])
async def test_a_list_is_used_although_its_first_server_is_unusable(
    tmp_path: Path, first: str
) -> None:
    """Any order of the servers works, within the time of one attempt."""
    user = {"user": "me", "password": SECRET}
    (tmp_path / "conf").write_text(json.dumps({"authorization": {"users": [user]}}))
    greetings = {
        "hangs": (b"", b""),
        "refuses": (info(), b"-ERR 'Authorization Violation'\r\n"),
        "too old": (info(version="2.9.25"), b""),
        "not NATS": (b"220 mail.example ESMTP\r\n", b""),
    }
    greeting, answer = greetings[first]
    with server(tmp_path / "conf") as port:
        async with Greeter(greeting, answer=answer) as other:
            credentials = f"me:{quote(SECRET, safe='')}"
            url = f"nats://{credentials}@127.0.0.1:{other.port},127.0.0.1:{port}"
            for _ in range(4):  # nats-py shuffles the list
                bus = await Bus.connect(url, name="test", wait_s=0)
                await bus.client.flush()
                await bus.close()


async def test_a_process_gives_up_if_all_listed_servers_refuse() -> None:
    refusing = {"answer": b"-ERR 'Authorization Violation'\r\n"}
    async with Greeter(info(), **refusing) as one, Greeter(info(), **refusing) as other:
        url = f"nats://me:{quote(SECRET, safe='')}@127.0.0.1:{one.port},127.0.0.1:{other.port}"
        assert isinstance(await refusal_of(url), Refused)


@pytest.mark.parametrize(
    ("error", "reason", "raised"),
    [
        ("Authorization Violation", "refuses the user and password", Refused),
        ("maximum connections exceeded", "accepts no more connections", Unavailable),
    ],
)
async def test_a_reason_is_reported_although_the_connection_is_reset_after_it(
    error: str, reason: str, raised: type[Unavailable]
) -> None:
    """The reset used to be reported instead: "nobody answers there"."""
    answer = f"-ERR '{error}'\r\n".encode()
    async with Greeter(info(), answer=answer, resets=True) as server:
        with pytest.raises(raised, match=reason):
            await Bus.connect(f"nats://me:wrong@127.0.0.1:{server.port}", name="test", wait_s=0)


async def test_a_token_works_as_credentials(tmp_path: Path) -> None:
    (tmp_path / "conf").write_text(json.dumps({"authorization": {"token": SECRET}}))
    with server(tmp_path / "conf") as port:
        url = f"nats://{quote(SECRET, safe='')}@127.0.0.1:{port}"
        bus = await Bus.connect(url, name="test", wait_s=20)
        await bus.close()


async def test_a_missing_permission_is_named(tmp_path: Path) -> None:
    """The check comes before the process reports that it is ready."""
    with restricted_nats(tmp_path / "restricted", "$JS.API.>") as limited:
        await set_up_streams(limited.operator_url)
        error = await refusal_of(limited.url, needs=NEEDS)
        assert isinstance(error, Refused)
        assert "it denies the user 'limited' a permission that this process needs" in str(error)
        assert "$js.api.stream.info.prompts" in str(error).lower()


@pytest.mark.parametrize("command", ["dataflow", "gateway", "slack", "discord"])
async def test_every_process_exits_with_one_line(
    nats: NatsServer, tmp_path: Path, fake_model: FakeModel, command: str
) -> None:
    """The exit code tells the supervisor that a restart does not help."""
    tokens = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1", "DISCORD_TOKEN": "x"}
    own = {name: value for name, value in tokens.items() if name.lower().startswith(command)}
    flow = dataflow(tmp_path / "home", nats.guest_url, fake_model.base_url, command, **own).start()
    assert await exit_code(flow) == lifecycle.CANNOT_START
    said = [line for line in flow.log.read_text().splitlines() if line.startswith(lifecycle.SAY)]
    assert len(said) == 1
    assert "NATS_URL lacks its password" in said[0]
    assert "Traceback" not in flow.log.read_text()


async def test_setup_only_says_what_is_missing(nats: NatsServer, tmp_path: Path) -> None:
    (tmp_path / "conf").write_text("{}")
    with server(tmp_path / "conf") as port, restricted_nats(tmp_path / "r", "$JS.API.>") as denied:
        urls = {
            "NATS_URL lacks its password": nats.guest_url,
            "it has no JetStream": f"nats://127.0.0.1:{port}",
            "it denies the user 'limited'": denied.url,
            "nobody answers there": "nats://127.0.0.1:9",
        }
        runs = {  # all at once, since each start takes seconds on a busy machine
            reason: Running(
                "nats", "--setup-only", log=tmp_path / f"log-{number}",
                env={"NATS_URL": url, "THREADWAX_HOME": str(tmp_path / "home")},
            ).start()
            for number, (reason, url) in enumerate(urls.items())
        }  # fmt: skip
        for reason, run in runs.items():
            assert await exit_code(run) == 1
            said = run.log.read_text()
            assert reason in said
            assert "None" not in said
            assert "Traceback" not in said


async def exit_code(run: Running) -> int:
    assert run.process is not None
    return await asyncio.wait_for(asyncio.to_thread(run.process.wait), 60)


@contextmanager
def server(conf: Path) -> Iterator[int]:
    """A nats-server with a configuration of the test; yields its port."""
    port = free_port()
    process = subprocess.Popen(
        [binary(), "-c", str(conf), "-a", HOST, "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection((HOST, port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()
