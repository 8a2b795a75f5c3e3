"""Lingering pulls: what a stream holds, handed over in order, across reconnects and restarts.

nats-py's own `fetch` stalls at times (its issues #933, #986), so a pull here is one long request
with heartbeats that is renewed at half. It never gives up: when the server or the consumer goes
away it starts again where it was.
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
from nats.js import api

from shared.bus import Bus
from shared.log import logger

BATCH: Final = 256
EXPIRES_S: Final = 30.0
HEARTBEAT_S: Final = 5.0
MISSED_AFTER_S: Final = 2 * HEARTBEAT_S + 1
"""Two heartbeats missed: the pull is gone."""

AGAIN_AFTER_S: Final = 0.2
INACTIVE_S: Final = 60.0
"""After which the server forgets a follower that went away without a word."""

_HEARTBEAT: Final = "100"
_NO_RESPONDERS: Final = "503"
_REQUEST_ENDED: Final = frozenset({"404", "408"})  # nothing there, or expired: ask anew
_USUAL_ENDS: Final = ("consumer deleted", "server shutdown", "leadership change")

Deliver = Callable[[Msg], Awaitable[None]]


class _Pull:
    """One inbox and the requests that fill it.

    It becomes stale when its requests cannot be trusted any more; `run` then returns. With
    `keep_inbox` what still comes in is handed over all the same, and `run` can be called again.
    """

    def __init__(
        self, bus: Bus, stream: str, consumer: str, deliver: Deliver, *, keep_inbox: bool
    ) -> None:
        self._bus = bus
        self._request = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
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


async def _for_ever(bus: Bus, what: str, once: Callable[[], Awaitable[None]]) -> NoReturn:
    complaining = False
    while True:
        try:
            await once()
            complaining = False
        except nats.js.errors.NotFoundError as error:
            # Told even while connected: somebody deleted what this process reads.
            if not complaining:
                logger().error("cannot read: it is not there", what=what, error=str(error))
            complaining = True
        except (nats.errors.Error, TimeoutError, OSError) as error:
            if bus.connected and not complaining:
                logger().warning("cannot read now: trying again", what=what, error=str(error))
                complaining = True
        except Exception:  # noqa: BLE001  (a defect in one place must not silence the stream)
            if not complaining:
                logger().exception("what was read cannot be handed over", what=what)
            complaining = True
        await asyncio.sleep(AGAIN_AFTER_S)


async def consume(bus: Bus, stream: str, durable: str, deliver: Deliver) -> NoReturn:
    """Hands over each message of a durable consumer; who delivers acknowledges.

    `deliver` is awaited one message at a time, so it should only put the work somewhere. Where it
    raises, the message comes again after the consumer's acknowledgement wait.
    """
    # One inbox for ever: what was sent to a former one would come again only after the consumer's
    # acknowledgement wait, behind newer messages.
    pull = _Pull(bus, stream, durable, deliver, keep_inbox=True)

    async def once() -> None:
        await bus.js.consumer_info(stream, durable)
        await pull.run()

    try:
        await _for_ever(bus, f"{stream} as {durable}", once)
    finally:
        await pull.end()


async def follow(
    bus: Bus, stream: str, filter_subject: str, *, after: int, deliver: Deliver
) -> NoReturn:
    """Hands over, in order and once, each message past stream sequence `after`.

    Reports a gap where the stream no longer holds what comes next, and reads on behind it. Where
    `deliver` raises, the same message comes again.
    """
    last = after
    consumed = 0

    async def in_order(message: Msg) -> None:
        nonlocal last, consumed
        metadata = message.metadata
        if metadata.sequence.consumer != consumed + 1:
            raise nats.errors.Error("a message went missing on the way")  # fetched again
        await deliver(message)
        consumed += 1
        last = metadata.sequence.stream

    async def once() -> None:
        nonlocal last, consumed
        state = (await bus.js.stream_info(stream)).state
        if last > state.last_seq:
            logger().error(
                "the stream is another one than before: reading it from its start",
                stream=stream,
                expected_sequence=last,
                last_sequence=state.last_seq,
            )
            last = 0
        elif last and last + 1 < state.first_seq:
            logger().error(
                "older messages are gone; some may be of this partition and unread",
                stream=stream,
                first_missing=last + 1,
                last_missing=state.first_seq - 1,
            )
            last = state.first_seq - 1
        info = await bus.js.add_consumer(
            stream,
            api.ConsumerConfig(
                filter_subject=filter_subject,
                ack_policy=api.AckPolicy.NONE,
                deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=last + 1,
                inactive_threshold=INACTIVE_S,
                mem_storage=True,
            ),
        )
        consumed = 0
        try:
            await _Pull(bus, stream, info.name, in_order, keep_inbox=False).run()
        finally:
            if bus.connected:
                try:
                    await bus.js.delete_consumer(stream, info.name)
                except (nats.errors.Error, TimeoutError):
                    logger().debug("the follower is left to the server to forget")

    await _for_ever(bus, f"{stream} {filter_subject}", once)
