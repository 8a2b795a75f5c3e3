"""Socket Mode: several connections at once, with a watchdog.

"Connected" does not mean "receiving". The watchdog replaces a connection that answers no pings,
that the SDK does not restore, or that stays silent while another one receives. It opens the new
connection before it closes the old one, and must never acknowledge anything itself.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.adapter.socket_mode.async_internals import send_async_response
from slack_bolt.adapter.socket_mode.internals import build_headers
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

from bots.adapter import Misconfigured
from bots.slack.api import quiet_logger
from bots.slack.deliveries import PERMANENT, Deliveries, line_of
from bots.slack.errors import CALL_ERRORS, RETRY_S, code_of, wait_of
from shared.log import logger

CONNECTIONS: Final = 2
"""While Slack refreshes one, the other receives. Slack allows 10."""

PING_S: Final = 5.0
DEAD_S: Final = 20.0
"""Four pings without an answer, which is the SDK's own limit; the SDK does not always act on it."""

SILENT_EVENTS: Final = 25
"""Slack sends each event to a random connection. With two connections, the chance that one of them
gets 25 events in a row is 1 in 2^25."""

QUIET_S: Final = 600.0
"""If nothing is received for this long, the connections are replaced one after the other: no other
check can tell whether they still receive."""

CHECK_EVERY_S: Final = 1.0
_WRONG_TOKEN: Final = frozenset(
    {"invalid_auth", "not_authed", "account_inactive", "token_revoked", "not_allowed_token_type",
     "missing_scope"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class WatchdogLimits:
    """When the watchdog replaces a connection."""

    ping_s: float = PING_S
    dead_s: float = DEAD_S
    silent_events: int = SILENT_EVENTS
    quiet_s: float = QUIET_S
    check_every_s: float = CHECK_EVERY_S


class _Handler(AsyncSocketModeHandler):
    """Bolt's handler, which passes every delivery to its person's queue."""

    def __init__(self, app: AsyncApp, deliveries: Deliveries, token: str, ping_s: float) -> None:
        super().__init__(app, token, logger=quiet_logger(), ping_interval=ping_s)
        self._deliveries = deliveries

    async def handle(self, client: AsyncBaseSocketModeClient, req: SocketModeRequest) -> None:
        """Handles a delivery, and acknowledges it unless Slack should send it again."""
        started = time.time()
        try:
            request = AsyncBoltRequest(
                mode="socket_mode", body=req.payload, headers=build_headers(req)
            )
        except PERMANENT as error:
            logger().error("ignored: Bolt cannot read it", why=line_of(error))
            response = BoltResponse(status=200)
        else:
            response = await self._deliveries.dispatch(request)
        await send_async_response(client, req, response, started)


class _Connection:
    """One connection, and when it received something."""

    def __init__(self, handler: AsyncSocketModeHandler, now: float) -> None:
        self.handler = handler
        self.since = now
        self.alive = now
        self.received = now
        self.others_received = 0


class SocketMode:
    """The connections of one app."""

    def __init__(
        self,
        app: AsyncApp,
        deliveries: Deliveries,
        app_token: str,
        now: Callable[[], float],
        limits: WatchdogLimits,
    ) -> None:
        self._app = app
        self._deliveries = deliveries
        self._token = app_token
        self._now = now
        self._limits = limits
        self._connections: list[_Connection] = []
        self._closing: set[asyncio.Task[None]] = set()
        self.paused = False
        """All connections are closed, so that Slack sends its events over those of others."""

    async def open(self) -> None:
        """Connects; tries again until Slack answers.

        Raises:
            Misconfigured: Slack refuses the app-level token.
        """
        while True:
            try:
                await self._app.client.apps_connections_open(app_token=self._token)
                break
            except SlackApiError as error:
                if code_of(error) in _WRONG_TOKEN:
                    raise Misconfigured(
                        f"Slack refuses SLACK_APP_TOKEN ({code_of(error)}): make an app-level "
                        "token with connections:write, or ask `threadwax doctor slack`"
                    ) from error
                await asyncio.sleep(wait_of(error) or RETRY_S)
            except CALL_ERRORS:
                await asyncio.sleep(RETRY_S)
        for _ in range(CONNECTIONS):
            self._connections.append(await self._new())

    async def _new(self) -> _Connection:
        handler = _Handler(self._app, self._deliveries, self._token, self._limits.ping_s)
        connection = _Connection(handler, self._now())

        async def receive(message: Any) -> None:
            del message
            connection.received = self._now()
            for other in self._connections:
                other.others_received = 0 if other is connection else other.others_received + 1

        handler.client.on_message_listeners.append(receive)
        await handler.connect_async()  # type: ignore[no-untyped-call]
        connection.since = connection.alive = connection.received = self._now()
        return connection

    async def watch(self) -> None:
        """Replaces connections that no longer receive, until it is cancelled."""
        while True:
            await asyncio.sleep(self._limits.check_every_s)
            if self.paused:
                while self._connections:
                    self._end(self._connections.pop())
            while not self.paused and len(self._connections) < CONNECTIONS:
                self._connections.append(await self._new())
            for number, connection in enumerate(tuple(self._connections)):
                why = await self._fault(connection)
                if why is None:
                    continue
                logger().warning("slack connection replaced", number=number, why=why)
                new = await self._new()
                self._connections[number] = new
                self._end(connection)

    async def _fault(self, connection: _Connection) -> str | None:
        limits, now, client = self._limits, self._now(), connection.handler.client
        if await client.is_connected():
            connection.alive = now
        if now - connection.alive > limits.dead_s:
            return "not connected"
        if connection.others_received >= limits.silent_events:
            return "silent while another one receives"
        newest = max(other.received for other in self._connections)
        if now - max(newest, connection.since) > limits.quiet_s:
            return "nothing received for too long"
        return None

    def _end(self, connection: _Connection) -> None:
        task = asyncio.create_task(connection.handler.close_async())  # type: ignore[no-untyped-call]
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def connected(self) -> int:
        """The number of open connections."""
        sessions = (connection.handler.client.current_session for connection in self._connections)
        return sum(1 for session in sessions if session is not None and not session.closed)

    async def close(self) -> None:
        """Closes all connections."""
        for connection in self._connections:
            self._end(connection)
        if self._closing:
            await asyncio.wait(self._closing, timeout=RETRY_S)
