"""Socket Mode: several connections at once, watched.

"Connected" is not "receiving": a connection that answers no pings, that the SDK does not bring
back, or that stays silent while another one hears, is replaced; the new one is open before the old
one is closed. It must never acknowledge anything itself.
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
from bots.slack.api import AGAIN_S, CALL_ERRORS, code_of, quiet_logger, wait_of
from bots.slack.deliveries import FOR_GOOD, Arrivals, line_of
from shared.log import logger

CONNECTIONS: Final = 2
"""While Slack refreshes one, the other hears; up to 10 are allowed."""

PING_S: Final = 5.0
DEAD_S: Final = 20.0
"""Four pings without an answer, as the SDK counts; it does not always act on it."""

SILENT_EVENTS: Final = 25
"""Each event goes to one connection at random: that another one hears so many in a row while this
one hears none has a chance of 1 to 2^25."""

QUIET_S: Final = 600.0
"""When nothing at all comes, the connections are made anew, one after the other: cheap, and the
only way to find out."""

LOOK_EVERY_S: Final = 1.0
_WRONG_TOKEN: Final = frozenset(
    {"invalid_auth", "not_authed", "account_inactive", "token_revoked", "not_allowed_token_type",
     "missing_scope"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the watchdog waits; tests are quicker."""

    ping_s: float = PING_S
    dead_s: float = DEAD_S
    silent_events: int = SILENT_EVENTS
    quiet_s: float = QUIET_S
    look_every_s: float = LOOK_EVERY_S


class _Handler(AsyncSocketModeHandler):
    """Bolt's handler, with every delivery in its person's queue."""

    def __init__(self, app: AsyncApp, arrivals: Arrivals, token: str, ping_s: float) -> None:
        super().__init__(app, token, logger=quiet_logger(), ping_interval=ping_s)
        self._arrivals = arrivals

    async def handle(self, client: AsyncBaseSocketModeClient, req: SocketModeRequest) -> None:
        """Has a delivery handled, and acknowledges it unless it is to come again."""
        started = time.time()
        try:
            request = AsyncBoltRequest(
                mode="socket_mode", body=req.payload, headers=build_headers(req)
            )
        except FOR_GOOD as error:
            logger().error("ignored: Bolt cannot read it", why=line_of(error))
            response = BoltResponse(status=200)
        else:
            response = await self._arrivals.dispatch(request)
        await send_async_response(client, req, response, started)


class _Line:
    """One connection and what was heard on it."""

    def __init__(self, handler: AsyncSocketModeHandler, now: float) -> None:
        self.handler = handler
        self.since = now
        self.alive = now
        self.heard = now
        self.others_heard = 0


class Lines:
    """The connections of one app."""

    def __init__(
        self,
        app: AsyncApp,
        arrivals: Arrivals,
        app_token: str,
        now: Callable[[], float],
        patience: Patience,
    ) -> None:
        self._app = app
        self._arrivals = arrivals
        self._token = app_token
        self._now = now
        self._patience = patience
        self._lines: list[_Line] = []
        self._closing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Connects; goes on trying while Slack does not answer.

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
                await asyncio.sleep(wait_of(error) or AGAIN_S)
            except CALL_ERRORS:
                await asyncio.sleep(AGAIN_S)
        for _ in range(CONNECTIONS):
            self._lines.append(await self._new())

    async def _new(self) -> _Line:
        handler = _Handler(self._app, self._arrivals, self._token, self._patience.ping_s)
        line = _Line(handler, self._now())

        async def hear(message: Any) -> None:
            del message
            line.heard = self._now()
            for other in self._lines:
                other.others_heard = 0 if other is line else other.others_heard + 1

        handler.client.on_message_listeners.append(hear)
        await handler.connect_async()  # type: ignore[no-untyped-call]
        line.since = line.alive = line.heard = self._now()
        return line

    async def watch(self) -> None:
        """Replaces what is deaf, for ever."""
        while True:
            await asyncio.sleep(self._patience.look_every_s)
            for number, line in enumerate(tuple(self._lines)):
                why = await self._complaint(line)
                if why is None:
                    continue
                logger().warning("slack connection replaced", number=number, why=why)
                new = await self._new()
                self._lines[number] = new
                self._end(line)

    async def _complaint(self, line: _Line) -> str | None:
        patience, now, client = self._patience, self._now(), line.handler.client
        if await client.is_connected():
            line.alive = now
        if now - line.alive > patience.dead_s:
            return "not connected"
        if line.others_heard >= patience.silent_events:
            return "silent while another one hears"
        newest = max(other.heard for other in self._lines)
        if now - max(newest, line.since) > patience.quiet_s:
            return "nothing heard for long"
        return None

    def _end(self, line: _Line) -> None:
        task = asyncio.create_task(line.handler.close_async())  # type: ignore[no-untyped-call]
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def connected(self) -> int:
        """How many connections are open now."""
        sessions = (line.handler.client.current_session for line in self._lines)
        return sum(1 for session in sessions if session is not None and not session.closed)

    async def close(self) -> None:
        """Hears nothing any more."""
        for line in self._lines:
            self._end(line)
        if self._closing:
            await asyncio.wait(self._closing, timeout=AGAIN_S)
