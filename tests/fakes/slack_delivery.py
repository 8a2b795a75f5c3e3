"""Slack's deliveries: Socket Mode with acknowledgements and redelivery, or signed HTTP requests."""

import asyncio
import contextlib
import hashlib
import hmac
import itertools
import json
import math
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from shared.tasks import end


@dataclass
class Delivery:
    """One delivery to the app. It ends when it is acknowledged or given up."""

    kind: str
    payload: dict[str, Any]
    started: float
    attempts: int = 0
    acked_at: float | None = None
    response: Any = None
    given_up: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def took_s(self) -> float:
        assert self.acked_at is not None
        return self.acked_at - self.started


class Sock:
    """One connection of the app.

    `deaf`: it stays open, but neither reads nor sends. `mute`: it answers pings, but sends no
    events.
    """

    def __init__(self, ws: web.WebSocketResponse) -> None:
        self.ws = ws
        self.deaf = False
        self.mute = False
        self.sent = 0
        self.heard_at = time.monotonic()
        self.closed = asyncio.Event()


class Sockets:
    """The app's connections. Each event goes to one of them, and again if not acknowledged."""

    def __init__(self, ack_s: float = 3.0, retries_s: tuple[float, ...] = (0.05, 60, 300)) -> None:
        self.ack_s = ack_s
        self.retries_s = retries_s
        self.gives_up_after_s = math.inf
        """A connection that is silent for this long is not used any more."""
        self.live: list[Sock] = []
        self.only: list[Sock] = []
        """The connections that get the next deliveries; all of them in turn if it is empty."""
        self.opened = 0
        self.tickets: set[str] = set()
        self.changed = asyncio.Event()
        self.lose_acks = 0
        self.redelivered = 0
        self._waiting: dict[str, tuple[Sock, Delivery]] = {}
        self._turn = itertools.count()
        self.http_urls: list[str] = []
        """The app's servers behind a load balancer: each delivery and each retry goes to the next
        one, even if its server is gone. Empty: Socket Mode."""
        self.signing_secret = "signing-secret"  # noqa: S105
        self.http_statuses: list[int] = []

    async def connect(self, request: web.Request) -> web.StreamResponse:
        ticket = request.query.get("ticket", "")
        if ticket not in self.tickets:
            return web.Response(status=403)
        self.tickets.discard(ticket)
        ws = web.WebSocketResponse(autoping=False)
        await ws.prepare(request)
        sock = Sock(ws)
        self.live.append(sock)
        self.opened += 1
        await ws.send_json({"type": "hello", "num_connections": len(self.live)})
        self._note()
        try:
            async for message in ws:
                sock.heard_at = time.monotonic()
                if sock.deaf:
                    continue
                if message.type == aiohttp.WSMsgType.PING:
                    await ws.pong(message.data)
                elif message.type == aiohttp.WSMsgType.TEXT:
                    self._acked(sock, json.loads(message.data))
        finally:
            if sock in self.live:
                self.live.remove(sock)
            sock.closed.set()
            self._note()
        return ws

    def _note(self) -> None:
        self.changed.set()

    def _acked(self, sock: Sock, message: dict[str, Any]) -> None:
        # An acknowledgement counts only if it is in time and on the connection of its delivery.
        found = self._waiting.get(message.get("envelope_id", ""))
        if found is None or found[0] is not sock:
            return
        if self.lose_acks:
            self.lose_acks -= 1
            return
        delivery = found[1]
        if delivery.acked_at is None:
            delivery.acked_at = time.monotonic()
            delivery.response = message.get("payload")
        delivery.done.set()

    async def deliver(self, kind: str, payload: dict[str, Any], *, again: bool = True) -> Delivery:
        delivery = Delivery(kind, payload, time.monotonic())
        for pause_s in (0.0, *(self.retries_s if again else ())):
            await asyncio.sleep(pause_s)
            delivery.attempts += 1
            self.redelivered += delivery.attempts > 1
            if await (self._by_http(delivery) if self.http_urls else self._by_socket(delivery)):
                return delivery
        delivery.given_up = True
        return delivery

    async def _by_socket(self, delivery: Delivery) -> bool:
        heard_since = time.monotonic() - self.gives_up_after_s
        usable = [sock for sock in self.live if sock.heard_at > heard_since]
        if not usable:
            return False
        those = [sock for sock in self.only if sock in usable] or usable
        sock = those[next(self._turn) % len(those)]
        envelope_id = secrets.token_hex(8)
        envelope = {
            "envelope_id": envelope_id, "type": delivery.kind, "payload": delivery.payload,
            "accepts_response_payload": delivery.kind != "events_api",
            "retry_attempt": delivery.attempts - 1, "retry_reason": "",
        }  # fmt: skip
        self._waiting[envelope_id] = (sock, delivery)
        sock.sent += 1
        if not sock.deaf and not sock.mute:
            with contextlib.suppress(ConnectionError):
                await sock.ws.send_json(envelope)
        ends = [asyncio.create_task(event.wait()) for event in (delivery.done, sock.closed)]
        try:
            await asyncio.wait(ends, timeout=self.ack_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(*ends)
            del self._waiting[envelope_id]
        return delivery.done.is_set()

    async def _by_http(self, delivery: Delivery) -> bool:
        if delivery.kind == "events_api":
            kind, body = "application/json", json.dumps(delivery.payload)
        elif delivery.kind == "slash_commands":
            kind, body = "application/x-www-form-urlencoded", urlencode(delivery.payload)
        else:
            kind = "application/x-www-form-urlencoded"
            body = urlencode({"payload": json.dumps(delivery.payload)})
        headers = self.signed(body) | {"Content-Type": kind}
        if delivery.attempts > 1:
            headers |= {"X-Slack-Retry-Num": str(delivery.attempts - 1)}
        url = self.http_urls[next(self._turn) % len(self.http_urls)]
        timeout = aiohttp.ClientTimeout(total=self.ack_s)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(url, data=body, headers=headers) as response,
            ):
                self.http_statuses.append(response.status)
                text = await response.text()
                if response.status != 200:
                    return False
                delivery.acked_at = time.monotonic()
                delivery.response = json.loads(text) if text.startswith("{") else text
                return True
        except (aiohttp.ClientError, TimeoutError):
            return False

    def signed(self, body: str, *, at: float | None = None) -> dict[str, str]:
        """Returns the headers that prove that a request is from Slack."""
        stamp = str(int(time.time() if at is None else at))
        digest = hmac.new(
            self.signing_secret.encode(), f"v0:{stamp}:{body}".encode(), hashlib.sha256
        ).hexdigest()
        return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}

    # --- failures of connections --------------------------------------------------------

    async def refresh(self) -> None:
        """Ends the oldest connection, as Slack does every few hours."""
        await self.live[0].ws.send_json({"type": "disconnect", "reason": "refresh_requested"})

    def cut(self) -> None:
        """Breaks the oldest connection without a close frame."""
        transport = self.live[0].ws._req.transport  # type: ignore[union-attr]
        assert transport is not None
        transport.abort()

    async def until_connected(self, count: int, *, seconds: float = 15.0) -> None:
        async with asyncio.timeout(seconds):
            while len(self.live) != count:
                self.changed.clear()
                await self.changed.wait()
