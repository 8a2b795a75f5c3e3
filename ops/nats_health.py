"""What a nats-server of ours says about its own health. Starts and stops nothing."""

import http.client
from dataclasses import dataclass
from typing import Final

HEALTH_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Health:
    """The server's own report; `why` is its reason for being unhealthy."""

    healthy: bool
    why: str = ""

    @property
    def disk_full(self) -> bool:
        """Whether a write failed for lack of space, from which the server does not recover."""
        return "no space left" in self.why

    @property
    def starting(self) -> bool:
        """Whether it reads its messages: it is monitored before that, and takes clients after."""
        return "failed to be ready for connections" in self.why


def health_of(host: str, monitor_port: int) -> Health:
    """Asks a server for its health. Blocks."""
    connection = http.client.HTTPConnection(host, monitor_port, timeout=HEALTH_TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return Health(healthy=False, why=f"it does not answer: {error}")
    finally:
        connection.close()
    healthy = response.status == http.HTTPStatus.OK
    return Health(healthy=healthy, why="" if healthy else text)
