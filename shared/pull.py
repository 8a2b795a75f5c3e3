"""Lingering pulls: what a stream holds, handed over in order, across reconnects and restarts.

nats-py's own `fetch` stalls at times (its issues #933, #986), so a pull here is one long request
with heartbeats that is renewed at half. It never gives up: when the server or the consumer goes
away it starts again where it was.
"""

import asyncio
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

_HEARTBEAT = "100"
_PULL_ENDED: Final = frozenset({"404", "408"})  # nothing there, or expired: ask anew

Deliver = Callable[[Msg], Awaitable[None]]


class _Pull:
    """One inbox and the requests that fill it; stale once it cannot be trusted any more."""

    def __init__(self, bus: Bus, stream: str, consumer: str, deliver: Deliver) -> None:
        self._bus = bus
        self._request = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._deliver = deliver
        self._outstanding = 0
        self._heard = 0.0
        self._stale = asyncio.Event()
        self._clock = asyncio.get_running_loop().time

    async def run(self) -> None:
        """Hands messages over until the pull is stale."""
        inbox = self._bus.client.new_inbox()
        self._heard = self._clock()
        forget = self._bus.on_reconnect(self._stale.set)
        subscription: Subscription | None = None
        try:
            subscription = await self._bus.client.subscribe(
                # No limits on our side: never more than a batch is outstanding.
                inbox,
                cb=self._on_message,
                pending_msgs_limit=-1,
                pending_bytes_limit=-1,
            )
            self._inbox = inbox
            await self._refill()
            while not self._stale.is_set():
                left = self._heard + MISSED_AFTER_S - self._clock()
                if left <= 0:
                    return
                try:
                    await asyncio.wait_for(self._stale.wait(), left)
                except TimeoutError:
                    continue
        finally:
            forget()
            self._stale.set()
            if subscription is not None:
                try:
                    await subscription.unsubscribe()
                except nats.errors.Error:
                    logger().debug("unsubscribed while away")

    async def _on_message(self, message: Msg) -> None:
        if self._stale.is_set():
            return  # another pull fetches this one again
        self._heard = self._clock()
        status = message.headers.get("Status") if message.headers else None
        if status is None:
            self._outstanding -= 1
            try:
                await self._deliver(message)
            except Exception:
                self._stale.set()
                raise
            self._heard = self._clock()
        elif status == _HEARTBEAT:
            return
        elif status in _PULL_ENDED:
            pending = int((message.headers or {}).get("Nats-Pending-Messages") or 0)
            self._outstanding -= pending or self._outstanding
        else:
            self._stale.set()  # consumer deleted, leader gone, no responders
            return
        if self._outstanding <= BATCH // 2:
            await self._refill()

    async def _refill(self) -> None:
        wanted = BATCH - self._outstanding
        self._outstanding += wanted
        request = {
            "batch": wanted,
            "expires": int(EXPIRES_S * 1e9),
            "idle_heartbeat": int(HEARTBEAT_S * 1e9),
        }
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
        await asyncio.sleep(AGAIN_AFTER_S)


async def consume(bus: Bus, stream: str, durable: str, deliver: Deliver) -> NoReturn:
    """Hands over each message of a durable consumer; who delivers acknowledges.

    `deliver` is awaited one message at a time, so it should only put the work somewhere.
    """

    async def once() -> None:
        await bus.js.consumer_info(stream, durable)
        await _Pull(bus, stream, durable, deliver).run()

    await _for_ever(bus, f"{stream} as {durable}", once)


async def follow(
    bus: Bus, stream: str, filter_subject: str, *, after: int, deliver: Deliver
) -> NoReturn:
    """Hands over, in order and once, each message past stream sequence `after`.

    Reports a gap where the stream no longer holds what comes next, and reads on behind it.
    """
    last = after
    consumed = 0

    async def in_order(message: Msg) -> None:
        nonlocal last, consumed
        metadata = message.metadata
        if metadata.sequence.consumer != consumed + 1:
            raise nats.errors.Error  # something went missing on the way: fetch it again
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
                "messages are gone that were never read",
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
            await _Pull(bus, stream, info.name, in_order).run()
        finally:
            if bus.connected:
                try:
                    await bus.js.delete_consumer(stream, info.name)
                except (nats.errors.Error, TimeoutError):
                    logger().debug("the follower is left to the server to forget")

    await _for_ever(bus, f"{stream} {filter_subject}", once)
