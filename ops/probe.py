"""`python -m ops.probe /readyz`: the health check of containers.

Runs every few seconds in every container, so it imports only what it needs.
"""

import os
import socket
import sys
from typing import Final

TIMEOUT_S: Final = 3.0
ANSWER_LIMIT_BYTES: Final = 4096


def main(path: str) -> int:
    """Prints the last line of the response, which has the reason; returns 0 for status 200."""
    port = os.environ.get("THREADWAX_HTTP_PORT", "")
    if not port.isdecimal():
        print("THREADWAX_HTTP_PORT is not set, so this process serves no status")  # noqa: T201
        return 1
    try:
        answer = _get(int(port), path)
    except (OSError, OverflowError) as error:
        print(f"nothing answers on port {port}: {error}")  # noqa: T201
        return 1
    print(answer.rstrip().rpartition("\n")[2])  # noqa: T201
    return 0 if answer.split(maxsplit=2)[1:2] == ["200"] else 1


def _get(port: int, path: str) -> str:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        answer = b""
        while len(answer) < ANSWER_LIMIT_BYTES and (more := connection.recv(ANSWER_LIMIT_BYTES)):
            answer += more
    return answer.decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
