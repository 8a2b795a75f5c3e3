"""Finds free ports on the loopback address. Never opens a port to the network."""

import secrets
import socket
from typing import Final

HOST: Final = "127.0.0.1"

FREE_PORTS: Final = range(20_000, 32_000)
"""Below the ephemeral ports, so that no outgoing connection takes one while a server restarts."""


class NoFreePort(OSError):
    """All ports in `FREE_PORTS` are in use."""

    def __init__(self) -> None:
        super().__init__(
            f"no port from {FREE_PORTS.start} to {FREE_PORTS.stop - 1} of {HOST} is free: stop "
            "programs that listen on them"
        )


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Returns a free port that the kernel does not give to outgoing connections.

    Raises:
        NoFreePort: all ports are in use.
    """
    for port in secrets.SystemRandom().sample(FREE_PORTS, len(FREE_PORTS)):
        if is_free(port):
            return port
    raise NoFreePort
