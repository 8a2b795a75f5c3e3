"""The port and the address of the web page, with real sockets."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bots.adapter import Misconfigured
from bots.web import server, settings
from bots.web.settings import WebSettings
from tests.running import ROOT


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which another program listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def opened(**fields: object) -> int:
    """The port that the page takes with these settings."""
    with server._listening(WebSettings.model_validate(fields)) as listening:
        port: int = listening.getsockname()[1]
        return port


def test_without_a_setting_the_next_free_port_is_taken(
    taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual ones first, then any."""
    monkeypatch.setattr(settings, "USUAL_PORTS", range(taken, taken + 1))
    assert opened() not in {0, taken}
    assert WebSettings().ports == (taken, 0)


@pytest.mark.parametrize("how", ["port", "url"])
def test_a_port_that_somebody_relies_on_is_never_replaced(
    how: str, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a chosen port, nor the usual one if a proxy is in front of the page."""
    monkeypatch.setattr(settings, "USUAL_PORTS", range(taken, taken + 2))
    fields = {"port": taken} if how == "port" else {"url": "https://chat.example.org"}
    with pytest.raises(Misconfigured, match=f"127.0.0.1:{taken}: Address already in use. Set"):
        opened(**fields)


def test_an_address_of_another_machine_is_refused_at_once(taken: int) -> None:
    with pytest.raises(Misconfigured, match="Cannot assign requested address"):
        server._listening(WebSettings.model_construct(host="192.0.2.1", port=taken, url=None))


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]")],  # noqa: S104
)  # fmt: skip
def test_the_address_can_be_opened_on_this_machine(host: str, shown: str) -> None:
    """A wildcard is not an address that a browser can open."""
    with server._listening(WebSettings.model_construct(host=host, port=0, url=None)) as listening:
        port = listening.getsockname()[1]
        assert server._address_of(listening) == f"http://{shown}:{port}"


def test_the_settings_can_be_read_without_the_libraries_of_the_page(tmp_path: Path) -> None:
    """The doctor and `up` read them on machines without the extra."""
    code = (
        "import sys\n"
        "for name in ('altair', 'authlib', 'starlette', 'streamlit', 'uvicorn'):\n"
        "    sys.modules[name] = None\n"
        "from bots.web.settings import WebSettings\n"
        "from ops import cli, doctor_web, settings, up, up_parts\n"
        "print(WebSettings().host)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"THREADWAX_HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "127.0.0.1\n"), done.stderr
