"""A network of hosts for tests: each one a network namespace, all of them on one bridge.

The namespaces have no names: the kernel removes them, with their interfaces, when their processes
and this one have ended, however they end. So runs cannot meet, and nothing is ever left behind.
No address leads out of the network. It needs Linux, root and iproute2; `why_not` says what is
missing.
"""

import contextlib
import ctypes
import functools
import ipaddress
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Final, ParamSpec, Self, TypeVar

from tests.wire import READY, Fault

P = ParamSpec("P")
T = TypeVar("T")

NETWORK: Final = ipaddress.ip_network("10.0.0.0/24")
OUTSIDE: Final = str(NETWORK[1])
"""The address of the tests themselves, and of what is not ours: platforms and models."""

HOSTS_LIMIT: Final = 30
_GSO_SEGMENTS: Final = 65535
"""The kernel's own limit."""

_BRIDGE: Final = "hosts"
_OWN: Final = "/proc/thread-self/ns/net"
_CLONE_NEWNET: Final = 0x40000000  # linux/sched.h
_CLONE_NEWUTS: Final = 0x04000000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


@functools.cache
def why_not() -> str:
    """Says why this machine cannot have such a network, or returns "" if it can. Tries it once."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need Linux and root"
    if shutil.which("ip") is None:
        return "network namespaces need iproute2"
    try:
        with Network() as network:
            network.add("try")
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        message = getattr(error, "stderr", "") or str(error)
        return f"network namespaces cannot be made here: {' '.join(message.split())}"


class Host:
    """A host with a name and an address. Its processes end together with it."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.address = str(NETWORK[number])
        self._number = number
        self._port = f"port{number}"
        self._cable: subprocess.Popen[bytes] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._namespace = self.call(self._enter)

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls it on this host, and waits for it. A process that it starts runs on this host."""
        return self._thread.submit(function, *args, **kwargs).result()

    def _enter(self) -> int:
        _check(_LIBC.unshare(_CLONE_NEWNET | _CLONE_NEWUTS))
        socket.sethostname(self.name)
        return os.open(_OWN, os.O_RDONLY)

    def plug_in(self) -> None:
        """Connects it to the bridge. Call from outside the hosts."""
        _ip("link", "add", self._port, "type", "veth", "peer", "name", "eth0",
            "netns", f"/proc/{os.getpid()}/fd/{self._namespace}")  # fmt: skip
        _ip("link", "set", self._port, "master", _BRIDGE, "up")
        # Everybody knows everybody's address: a host that is cut off is just silent, without
        # "no route to host", as it is behind a router.
        own = ipaddress.ip_address(self.address)
        self.call(_ip, "-batch", "-", commands=(
            "link set lo up",
            f"link set eth0 address {_mac(own)} up",
            f"address add {own}/{NETWORK.prefixlen} dev eth0",
            *(f"neigh replace {other} lladdr {_mac(other)} dev eth0 nud permanent"
              for other in itertools.islice(NETWORK.hosts(), HOSTS_LIMIT) if other != own),
        ))  # fmt: skip

    def cut(self) -> None:
        """Unplugs it: every packet is dropped from now on, and no side is told."""
        _ip("link", "set", self._port, "nomaster")

    def heal(self) -> None:
        """Plugs it in again; what was sent meanwhile is sent again, as TCP does."""
        self._replace_cable()
        _ip("link", "set", self._port, "master", _BRIDGE)

    def impair(self, fault: Fault) -> None:
        """Connects it by a bad cable until `heal` is called."""
        near, far = f"near{self._number}", f"far{self._number}"
        _ip("link", "add", near, "type", "veth", "peer", "name", far)
        for end in (near, far):
            # Whole packets are lost, not bursts that the kernel would have cut up later.
            _ip("link", "set", end, "gso_max_segs", "1", "up")
        self.call(_ip, "link", "set", "eth0", "gso_max_segs", "1")
        self._cable = subprocess.Popen(
            [sys.executable, "-m", "tests.wire", json.dumps(asdict(fault)), self._port, near],
            stdout=subprocess.PIPE, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        assert self._cable.stdout is not None
        assert self._cable.stdout.readline().strip() == READY.encode()
        _ip("link", "set", self._port, "nomaster")
        _ip("link", "set", far, "master", _BRIDGE)

    def _replace_cable(self) -> None:
        cable, self._cable = self._cable, None
        if cable is None:
            return
        cable.kill()
        cable.wait()
        assert cable.stdout is not None
        cable.stdout.close()
        _ip("link", "delete", f"near{self._number}")
        self.call(_ip, "link", "set", "eth0", "gso_max_segs", str(_GSO_SEGMENTS))

    def close(self) -> None:
        """Ends its processes, with the thread that started them, and removes it."""
        if self._cable is not None:
            self._replace_cable()
        self._thread.shutdown()
        os.close(self._namespace)


class Network:
    """The bridge and its hosts. As a context manager, the calling thread is at `OUTSIDE`."""

    def __init__(self) -> None:
        self.hosts: list[Host] = []
        self._numbers = iter(range(2, HOSTS_LIMIT + 1))
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            undo.enter_context(_elsewhere())
            _ip("-batch", "-", commands=(
                "link set lo up",
                f"link add {_BRIDGE} address {_mac(NETWORK[1])} type bridge forward_delay 0",
                f"link set {_BRIDGE} up",
                f"address add {OUTSIDE}/{NETWORK.prefixlen} dev {_BRIDGE}",
                *(f"neigh replace {one} lladdr {_mac(one)} dev {_BRIDGE} nud permanent"
                  for one in itertools.islice(NETWORK.hosts(), 1, HOSTS_LIMIT)),
            ))  # fmt: skip
            self._closing = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def add(self, name: str) -> Host:
        """Adds a host."""
        host = Host(name, next(self._numbers))
        self._closing.callback(host.close)
        host.plug_in()
        self.hosts.append(host)
        return host


@contextlib.contextmanager
def _elsewhere() -> Iterator[None]:
    """The calling thread, and those that it starts, are in a network namespace of their own."""
    before = os.open(_OWN, os.O_RDONLY)
    try:
        _check(_LIBC.unshare(_CLONE_NEWNET))
        try:
            yield
        finally:
            _check(_LIBC.setns(before, _CLONE_NEWNET))
    finally:
        os.close(before)


def _mac(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return f"02:00:00:00:00:{int(address) & 0xFF:02x}"


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _ip(*arguments: str, commands: tuple[str, ...] = ()) -> None:
    subprocess.run(
        ["ip", *arguments], input="".join(f"{line}\n" for line in commands), check=True,
        capture_output=True, text=True,
    )  # fmt: skip
