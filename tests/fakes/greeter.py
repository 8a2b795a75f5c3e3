"""A TCP server that greets like some other server, or like some version of nats-server.

It speaks enough of the NATS protocol for a client to connect
(https://docs.nats.io/reference/reference-protocols/nats-protocol), and records what it receives.
"""

import asyncio
import json
import socket
import struct
from typing import Any, Self


def info(**changes: Any) -> bytes:
    """Returns an INFO line with the fields that nats-server 2.15 sends first."""
    fields: dict[str, Any] = {
        "server_id": "NFAKE", "server_name": "NFAKE", "version": "2.15.1", "proto": 1,
        "go": "go1.25", "host": "127.0.0.1", "port": 4222, "headers": True, "max_payload": 1 << 20,
        "jetstream": True, "client_id": 5, "client_ip": "127.0.0.1", "xkey": "X",
    }  # fmt: skip
    return b"INFO " + json.dumps(fields | changes).encode() + b" \r\n"


class Greeter:
    """Sends `greeting` (if it is not empty) to each client, and answers PING with PONG.

    `resets`: the connection is reset right after the answer, as by a server that closes it before
    it has read everything.
    """

    def __init__(
        self,
        greeting: bytes,
        *,
        answer: bytes = b"PONG\r\n",
        hang_up: bool = False,
        resets: bool = False,
    ) -> None:
        self.greeting = greeting
        self.heard = b""
        self.connections = 0
        self._answer = answer
        self._hang_up = hang_up
        self._resets = resets
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        assert self._server
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            writer.write(self.greeting)
            while not self._hang_up and (data := await reader.read(1 << 16)):
                self.heard += data
                if b"PING\r\n" in data:
                    writer.write(self._answer)
                    if self._resets:
                        writer.get_extra_info("socket").setsockopt(
                            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                        )
                        await asyncio.sleep(0)  # the client reads the answer first
                        break
        except ConnectionError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
