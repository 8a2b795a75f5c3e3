"""Pulls the messages of a durable consumer, across reconnects and restarts.

nats-py's own `fetch` sometimes stalls (its issues #933, #986). Here a pull is one long request with
heartbeats, renewed when half of its messages have come. It must never give up: it starts again as
soon as the server, the stream and the consumer are back.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from shared import names
from shared.bus import Bus
from shared.interruption import Interruption, forever
from shared.log import logger

BATCH: Final = 256
EXPIRES_S: Final = 30.0
"""For consumers with one reader only: the server may go on delivering to one that is gone."""

HEARTBEAT_S: Final = 1.0
MISSED_AFTER_S: Final = 2 * HEARTBEAT_S + 1
"""Two missed heartbeats: the pull no longer works.

Nothing else shows that the server of a cluster that had this consumer is gone, if we are connected
to another one.
"""

POLL_S: Final = 0.1
ENSURE_EVERY_S: Final = 60.0
"""The wait before creating a missing consumer again: the server logs each refusal."""

_HEARTBEAT: Final = "100"
_NO_RESPONDERS: Final = "503"
_REQUEST_ENDED: Final = frozenset({"404", "408"})  # no messages, or expired
_EXPECTED_ENDS: Final = ("consumer deleted", "server shutdown", "leadership change")

Deliver = Callable[[Msg], Awaitable[None]]


def _ignored() -> None:
    """Does nothing."""


class Pull:
    """One inbox and the requests that fill it.

    When its requests can no longer be trusted, a pull becomes stale and `run` returns. With
    `keep_inbox`, messages that still arrive are delivered, and `run` can be called again.

    `expires_s`: how long the server goes on delivering to a process that is gone, although others
    read the same consumer; at least twice `HEARTBEAT_S`. A server of a cluster does not even notice
    a closed connection if that was to another server, from another account.
    """

    def __init__(
        self,
        bus: Bus,
        stream: str,
        consumer: str,
        deliver: Deliver,
        *,
        keep_inbox: bool,
        expires_s: float = EXPIRES_S,
    ) -> None:
        self.stream = stream
        self.consumer = consumer
        self._bus = bus
        self._expires_s = expires_s
        self._request = names.api_subject(names.next_messages(stream, consumer))
        self._deliver = deliver
        self._keep_inbox = keep_inbox
        self._inbox = bus.client.new_inbox()
        self._subscription: Subscription | None = None
        self._outstanding = 0
        self._expires_at = 0.0
        self._hands_back = False
        self._heard_at = 0.0
        self._is_heard = False
        """Whether the server has reacted to a request since `run` was called."""
        self._stale = asyncio.Event()
        self._delivering = asyncio.Lock()
        self._failure: Exception | None = None
        self._working: Callable[[], None] = _ignored
        self._clock = asyncio.get_running_loop().time

    async def run(self, working: Callable[[], None] = _ignored) -> None:
        """Delivers messages until the pull becomes stale; calls `working` when the server delivers.

        Raises:
            nats.errors.Error: the server ended the pull for the given reason, or never answered.
            Exception: whatever `deliver` raised.
        """
        self._heard_at = self._clock()
        self._is_heard = False
        self._outstanding = 0
        self._failure = None
        self._working = working
        self._stale.clear()
        remove_callback = self._bus.on_reconnect(self._stale.set)
        try:
            if self._subscription is None:
                self._subscription = await self._bus.client.subscribe(
                    self._inbox,
                    cb=self._on_message,
                    # No limits here: the server never sends much more than a batch.
                    pending_msgs_limit=-1,
                    pending_bytes_limit=-1,
                )
            await self._refill()
            await self._until_stale()
            if not self._is_heard and not self._stale.is_set():
                # The server does not even answer what it denies.
                raise nats.errors.Error("the server does not answer requests for messages")
            # Ending the subscription would cancel and repeat the current delivery.
            async with self._delivering:
                pass
        finally:
            remove_callback()
            self._stale.set()
            if not self._keep_inbox:
                await self.end()
        if self._failure is not None:
            raise self._failure

    async def end(self) -> None:
        """Ends the subscription, unless messages are still to be handed back."""
        if self._hands_back:
            return
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            try:
                await subscription.unsubscribe()
            except nats.errors.Error:
                logger().debug("unsubscribed while disconnected")

    def hand_back(self) -> None:
        """Takes no more messages: each one that still comes goes to another reader at once.

        It goes on doing so after `run`, until `handed_back` returns.
        """
        self._hands_back = True

    async def handed_back(self) -> None:
        """Returns when the server delivers no more: a cluster may do so until requests expire."""
        while (left := self._expires_at - self._clock()) > 0:
            if not (self._bus.connected and self._bus.client.is_clustered):
                break
            await asyncio.sleep(min(left, POLL_S))
        self._hands_back = False
        await self.end()

    async def _until_stale(self) -> None:
        while not self._stale.is_set():
            if self._hands_back:
                await self._stale.wait()
                continue
            left = self._heard_at + MISSED_AFTER_S - self._clock()
            if left <= 0 and self._delivering.locked():
                # Heartbeats wait behind this delivery, so the pull may work.
                async with self._delivering:
                    self._heard_at = self._clock()
                continue
            if left <= 0:
                return
            # Not wait_for, which can lose a cancel before Python 3.12 (cpython issue 86296).
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._stale.wait()

    async def _on_message(self, message: Msg) -> None:
        if self._stale.is_set() and not self._keep_inbox:
            return  # another pull fetches it again
        if self._hands_back:
            if message.reply:
                with contextlib.suppress(nats.errors.Error):
                    await message.nak()
            return
        self._heard_at = self._clock()
        self._is_heard = True
        try:
            # Only stored messages have a reply subject. Their authors may have set "Status", too.
            if message.reply:
                self._working()
                self._outstanding = max(0, self._outstanding - 1)
                async with self._delivering:
                    await self._deliver(message)
                self._heard_at = self._clock()
            else:
                self._handle_status(message.headers or {})
            if not self._stale.is_set() and self._outstanding <= BATCH // 2:
                await self._refill()
        except Exception as error:  # noqa: BLE001  (`run` raises it)
            self._failure = error
            self._stale.set()

    def _handle_status(self, headers: dict[str, str]) -> None:
        status = headers.get("Status")
        if status == _HEARTBEAT:
            self._working()
            return
        if status in _REQUEST_ENDED:
            # This request will not deliver these; other requests still may.
            undelivered = int(headers.get("Nats-Pending-Messages") or self._outstanding)
            self._outstanding = max(0, self._outstanding - undelivered)
            return
        self._stale.set()
        reason = headers.get("Description", "")
        if status != _NO_RESPONDERS and reason.lower() not in _EXPECTED_ENDS:
            raise nats.errors.Error(f"{status} {reason}")

    async def _refill(self) -> None:
        if self._hands_back:
            return
        wanted = BATCH - self._outstanding
        request = {
            "batch": wanted,
            "expires": int(self._expires_s * 1e9),
            "idle_heartbeat": int(HEARTBEAT_S * 1e9),
        }
        self._outstanding = BATCH
        self._expires_at = self._clock() + self._expires_s
        await self._bus.client.publish(
            self._request, json.dumps(request).encode(), reply=self._inbox
        )


async def consume(
    bus: Bus, pull: Pull, *, ensure: Callable[[], Awaitable[None]] | None = None
) -> NoReturn:
    """Delivers each message of a durable consumer; `deliver` must have it acknowledged.

    Messages are delivered one at a time, so `deliver` should only queue the work. If it raises, the
    message is redelivered after the consumer's acknowledgement wait.

    `pull` must keep its inbox: messages sent to an earlier inbox would be redelivered only after
    the acknowledgement wait, and so after newer ones. `ensure` creates a
    missing consumer. Without it, or if the server refuses it, this waits for the consumer. A new
    consumer delivers all messages of the stream again, so `deliver` must know which ones were
    handled.
    """
    stream, durable = pull.stream, pull.consumer
    now = asyncio.get_running_loop().time
    ensure_from_s = now()

    async def once(interruption: Interruption) -> None:
        nonlocal ensure_from_s
        try:
            await bus.js.consumer_info(stream, durable)
        except nats.js.errors.NotFoundError as missing:
            if ensure is None or now() < ensure_from_s:
                raise
            ensure_from_s = now() + ENSURE_EVERY_S
            try:
                await ensure()
            except (nats.errors.Error, TimeoutError) as error:
                logger().debug("the consumer cannot be created", error=str(error))
                raise missing from error
            logger().warning("missing consumer created again", consumer=durable)
        ensure_from_s = now()
        interruption.over()
        await pull.run(interruption.works)

    try:
        await forever(bus, f"{stream} as {durable}", f"consumer {durable} of {stream}", once)
    finally:
        await pull.end()
