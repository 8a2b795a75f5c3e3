"""The network of the other tests: a cut is silent, and nothing of a host outlives it."""

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.namespaces import Host, Network, why_not
from tests.running import before_exec

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")

SOON_S = 0.5
LATE_S = 20.0
PORT = 7000


@pytest.fixture(autouse=True)
def only_loopback() -> None:
    """Nothing leads out of the network of these tests, so nothing needs to be refused here."""


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


def connected(server: Host, client: Host) -> tuple[socket.socket, socket.socket]:
    """A connection between two hosts: the client's end, and the server's."""
    listening = server.call(socket.create_server, (server.address, PORT))
    one = client.call(socket.create_connection, (server.address, PORT), SOON_S)
    other, _ = listening.accept()
    listening.close()
    return one, other


def test_a_cut_is_silent_and_what_was_sent_meanwhile_arrives_later(network: Network) -> None:
    one, other = connected(network.add("one"), two := network.add("two"))
    with one, other:
        two.cut()
        one.sendall(b"late")
        other.settimeout(SOON_S)
        with pytest.raises(TimeoutError):
            other.recv(10)
        two.heal()
        other.settimeout(LATE_S)
        assert other.recv(10) == b"late"


def test_nobody_is_told_that_a_host_is_cut_off(network: Network) -> None:
    """A new connection gets no answer, either."""
    one, two = network.add("one"), network.add("two")
    two.cut()
    with pytest.raises(TimeoutError):
        one.call(socket.create_connection, (two.address, PORT), SOON_S)
    two.heal()
    with pytest.raises(ConnectionRefusedError):
        one.call(socket.create_connection, (two.address, PORT), LATE_S)


def test_a_host_has_its_own_name_and_loopback(network: Network) -> None:
    one = network.add("one")
    one.call(socket.create_server, ("127.0.0.1", PORT)).close()
    assert one.call(socket.gethostname) == "one"
    assert socket.gethostname() != "one"


def test_processes_end_with_their_host() -> None:
    with Network() as network:
        process = network.add("one").call(
            subprocess.Popen, [sys.executable, "-c", "import time; time.sleep(60)"],
            preexec_fn=before_exec,
        )  # fmt: skip
    assert process.wait(LATE_S) < 0
