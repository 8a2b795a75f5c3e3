"""A TCP proxy that simulates network faults: cut, silent and slow connections, lost data."""

import asyncio
import contextlib
from enum import Enum
from urllib.parse import urlsplit, urlunsplit

CHUNK_BYTES = 1 << 16


class Way(Enum):
    """The two directions of a connection, as the client sees them."""

    UP = "to the server"
    DOWN = "to the client"


class TcpProxy:
    """Forwards every connection to one server, and can disturb the connections.

    `pause`: nothing is forwarded or closed (half-open), and new connections are accepted.
    `lose`: the data of one direction is dropped. `slow_s`: the delay of each piece.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._socket = ""
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.lost: set[Way] = set()
        self.lost_bytes = 0
        self.slow_s = 0.0
        self.connections = 0
        self.port = 0

    @classmethod
    async def start(cls, url: str) -> "TcpProxy":
        """Starts a proxy on a free port for the server at this address."""
        proxy = cls("", 0)
        proxy.retarget(url)
        proxy._server = await asyncio.start_server(proxy._accept, "127.0.0.1", 0)
        proxy.port = proxy._server.sockets[0].getsockname()[1]
        return proxy

    def retarget(self, url: str) -> None:
        """Forwards new connections to another server; `unix:/path` is one with a socket there."""
        parts = urlsplit(url)
        if parts.scheme == "unix":
            self._socket = parts.path
            return
        assert parts.hostname
        assert parts.port
        self._target = (parts.hostname, parts.port)

    async def stop(self) -> None:
        """Closes everything."""
        assert self._server is not None
        self._server.close()
        self.reset()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, url: str) -> str:
        """Returns the server's URL with this proxy's address. Credentials are kept."""
        parts = urlsplit(url)
        credentials, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{credentials}{at}127.0.0.1:{self.port}"))

    def reset(self) -> None:
        """Cuts every connection at once."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    def pause(self) -> None:
        """Makes all connections half-open: it accepts, but forwards nothing."""
        self._open.clear()

    def resume(self) -> None:
        """Forwards again, beginning with the data that waited."""
        self._open.set()

    def lose(self, *ways: Way) -> None:
        """Drops all data in these directions. Without arguments, it drops nothing from now on."""
        self.lost = set(ways)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            upstream, up = await self._connected()
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(up)
        for way, source, sink in ((Way.UP, reader, up), (Way.DOWN, upstream, writer)):
            task = asyncio.create_task(self._forward(way, source, sink, (up, writer)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._socket:
            return await asyncio.open_unix_connection(self._socket)
        return await asyncio.open_connection(*self._target)

    async def _forward(
        self,
        way: Way,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        both: tuple[asyncio.StreamWriter, ...],
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK_BYTES):
                await self._open.wait()
                if self.slow_s:
                    await asyncio.sleep(self.slow_s)
                if way in self.lost:
                    self.lost_bytes += len(data)
                    continue
                sink.write(data)
                await sink.drain()
        for writer in both:
            writer.transport.abort()
            self._writers.discard(writer)
