"""Free ports of the loopback address.

Never opens a port to the network.
"""

import secrets
import socket
from typing import Final

HOST: Final = "127.0.0.1"

FREE_PORTS: Final = range(20_000, 32_000)
"""Below the ephemeral ports, so that no outgoing connection takes it while the server restarts."""


class NoFreePort(OSError):
    """Every port that we may take is taken."""

    def __init__(self) -> None:
        super().__init__(
            f"no port from {FREE_PORTS.start} to {FREE_PORTS.stop - 1} of {HOST} is free: end "
            "programs that listen there"
        )


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback address now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that is free and stays so while nobody asks for it by number.

    Raises:
        NoFreePort: all are taken.
    """
    for port in secrets.SystemRandom().sample(FREE_PORTS, len(FREE_PORTS)):
        if is_free(port):
            return port
    raise NoFreePort
