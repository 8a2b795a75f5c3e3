"""Free ports of the loopback address.

Never opens a port to the network.
"""

import secrets
import socket
from typing import Final

HOST: Final = "127.0.0.1"

FREE_PORTS: Final = range(20_000, 32_000)
"""Below the ephemeral ports, so that no outgoing connection takes it while the server restarts."""


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
    """A port that is free and stays so while nobody asks for it by number."""
    while not is_free(port := secrets.choice(FREE_PORTS)):
        pass
    return port
