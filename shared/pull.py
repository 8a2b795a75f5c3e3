"""Lingering pulls: the messages of a durable consumer, across reconnects and restarts.

nats-py's own `fetch` stalls at times (its issues #933, #986), so a pull here is one long request
with heartbeats that is renewed at half. It must never give up: when the server, the stream or the
consumer goes away, it starts again as soon as they are back.
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
from shared.log import logger

BATCH: Final = 256
EXPIRES_S: Final = 30.0
HEARTBEAT_S: Final = 5.0
MISSED_AFTER_S: Final = 2 * HEARTBEAT_S + 1
"""Two heartbeats missed: the pull is gone."""

AGAIN_AFTER_S: Final = 0.2
MISSING_AGAIN_S: Final = 1.0
"""How often a missing stream or consumer is looked for."""

ENSURE_EVERY_S: Final = 60.0
"""How often a missing consumer is created, if the server refuses that: it logs each refusal."""

REMEDY: Final = (
    "run `threadwax nats --setup-only` with NATS_URL of a user who may create streams, or start "
    "the embedded server again; reading then goes on by itself"
)

_HEARTBEAT: Final = "100"
_NO_RESPONDERS: Final = "503"
_REQUEST_ENDED: Final = frozenset({"404", "408"})  # no messages, or expired: ask again
_USUAL_ENDS: Final = ("consumer deleted", "server shutdown", "leadership change")

Deliver = Callable[[Msg], Awaitable[None]]


class Pull:
    """One inbox and the requests that fill it.

    It becomes stale when its requests cannot be trusted any more; `run` then returns. With
    `keep_inbox` messages that still arrive are handed over anyway, and `run` can be called again.
    """

    def __init__(
        self, bus: Bus, stream: str, consumer: str, deliver: Deliver, *, keep_inbox: bool
    ) -> None:
        self._bus = bus
        self._request = names.api_subject(names.next_messages(stream, consumer))
        self._deliver = deliver
        self._keep_inbox = keep_inbox
        self._inbox = bus.client.new_inbox()
        self._subscription: Subscription | None = None
        self._outstanding = 0
        self._heard = 0.0
        self._stale = asyncio.Event()
        self._delivering = asyncio.Lock()
        self._failure: Exception | None = None
        self._clock = asyncio.get_running_loop().time

    async def run(self) -> None:
        """Hands messages over until the pull is stale.

        Raises:
            nats.errors.Error: the server refuses to go on, with its words.
            Exception: what `deliver` raised.
        """
        self._heard = self._clock()
        self._outstanding = 0
        self._failure = None
        self._stale.clear()
        forget = self._bus.on_reconnect(self._stale.set)
        try:
            if self._subscription is None:
                self._subscription = await self._bus.client.subscribe(
                    self._inbox,
                    cb=self._on_message,
                    # No limits on our side: little more than a batch is outstanding.
                    pending_msgs_limit=-1,
                    pending_bytes_limit=-1,
                )
            await self._refill()
            await self._until_stale()
            # Ending the subscription would cut off what is being handed over, and fetch it again.
            # Nor is a pull lost whose heartbeats wait behind a long hand-over.
            async with self._delivering:
                pass
        finally:
            forget()
            self._stale.set()
            if not self._keep_inbox:
                await self.end()
        if self._failure is not None:
            raise self._failure

    async def end(self) -> None:
        """Takes nothing any more."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            try:
                await subscription.unsubscribe()
            except nats.errors.Error:
                logger().debug("unsubscribed while away")

    async def _until_stale(self) -> None:
        while not self._stale.is_set():
            left = self._heard + MISSED_AFTER_S - self._clock()
            if left <= 0:
                return
            # Not wait_for: before Python 3.12 that can lose a cancel (cpython issue 86296).
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._stale.wait()

    async def _on_message(self, message: Msg) -> None:
        if self._stale.is_set() and not self._keep_inbox:
            return  # another pull fetches this one again
        self._heard = self._clock()
        try:
            # Only what is stored can be acknowledged. A stored message may have a header "Status"
            # too, whatever its author wanted with it.
            if message.reply:
                self._outstanding = max(0, self._outstanding - 1)
                async with self._delivering:
                    await self._deliver(message)
                self._heard = self._clock()
            else:
                self._obey(message.headers or {})
            if not self._stale.is_set() and self._outstanding <= BATCH // 2:
                await self._refill()
        except Exception as error:  # noqa: BLE001  (`run` raises it: nobody hears it here)
            self._failure = error
            self._stale.set()

    def _obey(self, headers: dict[str, str]) -> None:
        status = headers.get("Status")
        if status == _HEARTBEAT:
            return
        if status in _REQUEST_ENDED:
            # Of this request so many do not come any more; of another one they may.
            undelivered = int(headers.get("Nats-Pending-Messages") or self._outstanding)
            self._outstanding = max(0, self._outstanding - undelivered)
            return
        self._stale.set()
        words = headers.get("Description", "")
        if status != _NO_RESPONDERS and words.lower() not in _USUAL_ENDS:
            raise nats.errors.Error(f"{status} {words}")

    async def _refill(self) -> None:
        wanted = BATCH - self._outstanding
        request = {
            "batch": wanted,
            "expires": int(EXPIRES_S * 1e9),
            "idle_heartbeat": int(HEARTBEAT_S * 1e9),
        }
        self._outstanding = BATCH
        await self._bus.client.publish(
            self._request, json.dumps(request).encode(), reply=self._inbox
        )


class Interruption:
    """An interruption of one reader: reported once when it begins, and once when it is over."""

    def __init__(self, bus: Bus, what: str, source: str) -> None:
        self._bus = bus
        self._what = what
        self._source = source
        self._reported = False
        self._missing = False

    def over(self) -> None:
        """Reading goes on."""
        if self._missing:
            self._missing = False
            self._bus.missing[self._source] -= 1
            if not self._bus.missing[self._source]:
                logger().warning("it is there again: reading goes on", what=self._source)
        self._reported = False

    def missing(self, error: Exception) -> None:
        """The stream or the consumer does not exist: only a person can bring it back."""
        if self._missing:
            return
        self._missing = True
        self._bus.missing[self._source] += 1
        if self._bus.missing[self._source] == 1:  # the readers of all partitions miss it at once
            logger().error(
                "cannot read: it is not there", what=self._source, error=str(error), remedy=REMEDY
            )

    def temporary(self, error: Exception) -> None:
        """The server does not answer, or refuses; a lost connection is reported elsewhere."""
        if self._bus.connected and not self._reported:
            logger().warning("cannot read now: trying again", what=self._what, error=str(error))
            self._reported = True

    def defect(self) -> None:
        """What was read cannot be handed over. Call it while the exception is handled."""
        if not self._reported:
            logger().exception("what was read cannot be handed over", what=self._what)
        self._reported = True


Once = Callable[[Interruption], Awaitable[None]]
"""Reads until it has to start again; calls `Interruption.over` as soon as it reads."""


async def forever(bus: Bus, what: str, source: str, once: Once) -> NoReturn:
    """Calls `once` again whenever it returns or fails.

    In the log, `what` names this reader and `source` the stream or consumer that it reads.
    """
    interruption = Interruption(bus, what, source)
    while True:
        wait_s = AGAIN_AFTER_S
        try:
            await once(interruption)
        except nats.js.errors.NotFoundError as error:
            interruption.missing(error)
            wait_s = MISSING_AGAIN_S
        except (nats.errors.Error, TimeoutError, OSError) as error:
            interruption.temporary(error)
        except Exception:  # noqa: BLE001  (a defect in one place must not silence the stream)
            interruption.defect()
        await asyncio.sleep(wait_s)


async def consume(
    bus: Bus,
    stream: str,
    durable: str,
    deliver: Deliver,
    *,
    ensure: Callable[[], Awaitable[None]] | None = None,
) -> NoReturn:
    """Hands over each message of a durable consumer; `deliver` has to see to its acknowledgement.

    `deliver` is awaited one message at a time, so it should only put the work somewhere. If it
    raises, the message comes again after the consumer's acknowledgement wait.

    `ensure` creates the consumer, and is called when it is missing. Where the server refuses that,
    or without `ensure`, the consumer is waited for. A new one delivers every reply in the stream
    again, so `deliver` has to know which ones were handled.
    """
    # One inbox forever: messages sent to a former one would come again only after the consumer's
    # acknowledgement wait, after newer messages.
    pull = Pull(bus, stream, durable, deliver, keep_inbox=True)
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
            logger().warning("the consumer was missing: created again", consumer=durable)
        ensure_from_s = now()
        interruption.over()
        await pull.run()

    try:
        await forever(bus, f"{stream} as {durable}", f"consumer {durable} of {stream}", once)
    finally:
        await pull.end()
