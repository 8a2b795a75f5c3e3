"""The network of the other tests: a cut is silent, and nothing of a host outlives it."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.namespaces import Host, Network, why_not
from tests.running import before_exec
from tests.wire import Fault

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")

SOON_S = 0.5
LATE_S = 20.0
PORT = 7000
DELAY_S = 0.15


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
    # The kernel may take a second until a new host's cable counts as plugged in.
    one = client.call(socket.create_connection, (server.address, PORT), LATE_S)
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


def answered(server: socket.socket, client: socket.socket, size: int = 1) -> float:
    """Sends and gets this many bytes; returns how long that took."""
    start = time.monotonic()
    with ThreadPoolExecutor(1) as sending:
        sending.submit(client.sendall, b"x" * size)
        left = size
        while left:
            left -= len(server.recv(1 << 16))
    server.sendall(b"y")
    assert client.recv(1) == b"y"
    return time.monotonic() - start


def test_a_slow_cable_delays_both_directions(network: Network) -> None:
    one, other = connected(network.add("one"), two := network.add("two"))
    with one, other:
        assert answered(other, one) < DELAY_S
        two.impair(Fault(delay_s=DELAY_S))
        assert answered(other, one) >= 2 * DELAY_S
        two.heal()
        assert answered(other, one) < DELAY_S


def test_a_lossy_cable_loses_frames_and_tcp_repeats_them(network: Network) -> None:
    one, other = connected(network.add("one"), two := network.add("two"))
    with one, other:
        one.settimeout(LATE_S)
        other.settimeout(LATE_S)
        two.impair(Fault(lost=0.1))
        answered(other, one, 200_000)
        resent = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[100:104]
        assert int.from_bytes(resent, sys.byteorder) > 5  # tcpi_total_retrans


@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_one_sided_cable_passes_the_other_direction(network: Network, direction: str) -> None:
    """UDP, because TCP needs both."""
    one, two = network.add("one"), network.add("two")
    sockets = [host.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) for host in (one, two)]
    two.impair(Fault(dropped=direction))
    for host, own in zip((one, two), sockets, strict=True):
        own.bind((host.address, PORT))
        own.settimeout(SOON_S)
    to = {"in": (sockets[0], sockets[1], two), "out": (sockets[1], sockets[0], one)}
    sender, receiver, host = to.pop("in" if direction == "out" else "out")
    with sender, receiver:
        received = b""
        while not received:  # the kernel may take a second until the cable counts as plugged in
            sender.sendto(b"passes", (host.address, PORT))
            with contextlib.suppress(TimeoutError):
                received = receiver.recv(10)
        sender, receiver, host = to[direction]
        sender.sendto(b"does not", (host.address, PORT))
        with pytest.raises(TimeoutError):
            receiver.recv(10)


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
