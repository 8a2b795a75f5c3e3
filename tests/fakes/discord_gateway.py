"""The fake Discord's gateway: zlib-stream, IDENTIFY, RESUME with replay, and its failures.

It never sends a session an event that its intents do not cover.
"""

import asyncio
import contextlib
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

if TYPE_CHECKING:
    from tests.fakes.discord import FakeDiscord

GUILDS, GUILD_MESSAGES, DIRECT_MESSAGES, MESSAGE_CONTENT = 1 << 0, 1 << 9, 1 << 12, 1 << 15
PRIVILEGED = MESSAGE_CONTENT | 1 << 1 | 1 << 8
HEARTBEAT_MS = 41_250
REPLAY_KEPT = 1000


@dataclass
class Session:
    """The state for a RESUME. It survives its connection, unless that was closed cleanly."""

    id: str
    intents: int
    shard: int = 0
    socket: "Connection | None" = None
    sequence: int = 0
    sent: list[tuple[int, dict[str, Any]]] = field(default_factory=list)


class Connection:
    """One websocket with its compression context."""

    def __init__(
        self, gateway: "Gateway", socket: web.WebSocketResponse, http: web.Request
    ) -> None:
        self.gateway = gateway
        self.socket = socket
        self.http = http
        self.silent = False
        self.closed_here = False
        self._deflate = zlib.compressobj()

    async def send(self, payload: dict[str, Any]) -> None:
        # After a lost frame a connection sends nothing more: the stream would have a gap.
        self.silent = self.silent or self.gateway.silent
        if self.silent or self.socket.closed:
            return
        data = self._deflate.compress(json.dumps(payload).encode())
        data += self._deflate.flush(zlib.Z_SYNC_FLUSH)
        with contextlib.suppress(ConnectionError):
            await self.socket.send_bytes(data)

    def abort(self) -> None:
        if self.http.transport is not None:
            self.http.transport.abort()


class Gateway:
    """All sessions of the bot."""

    def __init__(self, world: "FakeDiscord") -> None:
        self.world = world
        self.sessions: dict[str, Session] = {}
        self.identifies: list[dict[str, Any]] = []
        self.resumes: list[dict[str, Any]] = []
        self.refuse_resumes = False
        self.heartbeat_ms = HEARTBEAT_MS
        self.silent = False
        """While set, every connection stays open but sends nothing: no event, no answer to a
        heartbeat, no hello. A connection that was silent once stays silent.
        """
        self.most_at_once = 0
        self.connected = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._number = 0

    # --- faults that a test causes ------------------------------------------------------------

    @property
    def live(self) -> list[Session]:
        return [s for s in self.sessions.values() if s.socket is not None]

    def drop(self) -> None:
        """Reset the TCP connections. The sessions can be resumed."""
        for session in self.live:
            assert session.socket
            session.socket.abort()

    def go_silent(self) -> None:
        """Keep the connections open, but send nothing from now on."""
        for session in self.live:
            assert session.socket
            session.socket.silent = True

    async def ask_reconnect(self) -> None:
        """Ask the clients to reconnect (opcode 7)."""
        for session in self.live:
            assert session.socket
            await session.socket.send({"op": 7, "d": None, "s": None, "t": None})

    async def invalidate(self, *, resumable: bool = False) -> None:
        """Invalidate the sessions (opcode 9)."""
        for session in self.live:
            assert session.socket
            await session.socket.send({"op": 9, "d": resumable, "s": None, "t": None})
            if not resumable:
                self.sessions.pop(session.id, None)

    async def close(self, code: int) -> None:
        """Close every connection with this code."""
        for session in self.live:
            assert session.socket
            session.socket.closed_here = True
            await session.socket.socket.close(code=code)

    async def send_garbage(self) -> None:
        """Send an event that the client's parser cannot read."""
        for session in self.live:
            await self._push(session, "MESSAGE_CREATE", {"channel_id": "not a number"})

    # --- events -------------------------------------------------------------------------------

    async def dispatch(
        self, event: str, intent: int, data: Callable[[Session], dict[str, Any]]
    ) -> None:
        """Send an event to every session whose intents include it, or keep it for a RESUME."""
        for session in tuple(self.sessions.values()):
            if not intent or session.intents & intent:
                await self._push(session, event, data(session))

    async def _push(self, session: Session, event: str, data: dict[str, Any]) -> None:
        session.sequence += 1
        payload = {"op": 0, "t": event, "s": session.sequence, "d": data}
        session.sent.append((session.sequence, payload))
        del session.sent[:-REPLAY_KEPT]
        if session.socket is not None:
            await session.socket.send(payload)

    # --- the protocol -------------------------------------------------------------------------

    async def serve(self, http: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(http)
        assert http.query.get("compress") == "zlib-stream"
        assert http.query.get("v") == "10"
        connection = Connection(self, socket, http)
        session: Session | None = None
        await connection.send(
            {"op": 10, "d": {"heartbeat_interval": self.heartbeat_ms}, "s": None, "t": None}
        )
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    continue
                received = json.loads(message.data)
                match received["op"]:
                    case 1:
                        await connection.send({"op": 11, "d": None, "s": None, "t": None})
                    case 2:
                        session = await self._identify(connection, received["d"])
                    case 6:
                        session = await self._resume(connection, received["d"])
        finally:
            if session is not None and session.socket is connection:
                session.socket = None
                # The client closed the session cleanly: no RESUME.
                if socket.close_code in {1000, 1001} and not connection.closed_here:
                    self.sessions.pop(session.id, None)
            if not self.live:
                self.connected.clear()
        return socket

    async def _identify(self, connection: Connection, received: dict[str, Any]) -> Session | None:
        world = self.world
        self.identifies.append(received)
        world.changed.set()
        if received["token"] != world.token:
            await connection.socket.close(code=4004, message=b"Authentication failed.")
            return None
        if received["intents"] & PRIVILEGED & ~world.enabled_intents:
            await connection.socket.close(code=4014, message=b"Disallowed intent(s).")
            return None
        self._number += 1
        session = Session(
            f"session{self._number}", received["intents"], received["shard"][0], connection
        )
        self.sessions[session.id] = session
        self.most_at_once = max(self.most_at_once, len(self.live))
        guild = {"id": str(world.guild_id), "unavailable": True}
        ready = {
            "v": 10,
            "user": world.me,
            "guilds": [guild],
            "session_id": session.id,
            "resume_gateway_url": f"ws://{connection.http.host}/gateway",
            "shard": received["shard"],
            "application": {"id": str(world.application_id), "flags": world.application_flags},
        }
        await self._push(session, "READY", ready)
        if session.intents & GUILDS:
            await self._push(session, "GUILD_CREATE", world.guild_payload())
        self.connected.set()
        return session

    async def _resume(self, connection: Connection, received: dict[str, Any]) -> Session | None:
        self.resumes.append(received)
        self.world.changed.set()
        session = self.sessions.get(received["session_id"])
        if session is None or received["token"] != self.world.token or self.refuse_resumes:
            if session is not None:
                self.sessions.pop(session.id)
            await connection.send({"op": 9, "d": False, "s": None, "t": None})
            return None
        session.socket = connection
        for sequence, payload in tuple(session.sent):
            if sequence > received["seq"]:
                await connection.send(payload)
        await self._push(session, "RESUMED", {})
        self.connected.set()
        return session
