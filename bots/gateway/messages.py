"""Takes requests and stores them as events.

Clients with credentials and guests have one instance each. The two share nothing, so that a flood
of guests delays nobody else. Whatever a request says, the answer must never go to a subject that is
not the client's inbox.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import nats.errors
from nats.aio.msg import Msg

from bots.gateway.client_kinds import ClientKind
from bots.gateway.events import (
    PLATFORM,
    TOO_LARGE,
    TOO_MANY,
    UNAVAILABLE,
    Refused,
    ask_of,
    is_inbox,
)
from bots.gateway.open_questions import OpenQuestions
from bots.user_queues import UserQueues
from shared import tracing
from shared.bus import Bus, OverQuota, StoreFull, TooLarge
from shared.connection import Unavailable
from shared.log import logger
from shared.log_throttle import LogThrottle
from shared.messages import Ask
from shared.replies import Reply

QUEUE_GROUP: Final = "gateway"

ERROR_HEADER: Final = "Nats-Service-Error"
ERROR_CODE_HEADER: Final = "Nats-Service-Error-Code"
"""The headers in which NATS micro services report an error (ADR-32)."""

PATIENCE_S: Final = 2.0
"""Longer than a restart of NATS, shorter than a client's usual timeout of 5 s.

In a cluster an election comes on top: a client that repeats its request meanwhile under the same
id gets the answer, and one that waits longer needs no repeat.
"""

WAIT_FOR_STORED_S: Final = 600.0
"""How long a repeated request waits for the answer: longer than any model call may take."""

DEAD_REQUEST_BYTES: Final = 4096
"""Kept of a request that cannot be answered: enough to find out who sent it."""

PENDING_BYTES: Final = 32 << 20
"""Requests that may wait in memory; nats-py drops what exceeds this."""

FLOOD_REFUSALS: Final = 200
"""After this many refusals within `PAUSE_S`, the subscription for guests ends for as long.

Reading and refusing a flood would take processor time from everybody else. During the pause the
server itself tells guests that nobody responds.
"""

PAUSE_S: Final = 1.0


class Requests:
    """The requests of one kind of client; keeps nothing about those that are stored."""

    def __init__(
        self, bus: Bus, kind: ClientKind, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.received = 0
        self.refused = 0
        self.open_questions = OpenQuestions(kind.open_limit)
        self._bus = bus
        self._kind = kind
        self._now = now
        self._storing_slots = asyncio.Semaphore(kind.storing_limit)
        self._storing: Counter[str] = Counter()
        self._queues = UserQueues()
        self._tasks: set[asyncio.Task[None]] = set()
        self._repeats: dict[asyncio.Task[None], str] = {}
        self._throttle = LogThrottle()
        self._flooded = asyncio.Event()
        self._refused_since = 0.0
        self._refused_lately = 0

    async def run(self, closed: asyncio.Event, listening: asyncio.Event) -> None:
        """Sets `listening`, takes requests until `closed`, and returns once all are stored."""
        closing = asyncio.create_task(closed.wait())
        requests = await self._subscribed()
        await self._bus.client.flush()
        listening.set()
        while not closing.done():
            flooded = asyncio.create_task(self._flooded.wait())
            await asyncio.wait({closing, flooded}, return_when=asyncio.FIRST_COMPLETED)
            flooded.cancel()
            if closing.done():
                break
            # Not drained: the rest of the flood is dropped.
            await requests.unsubscribe()
            await asyncio.wait({closing}, timeout=PAUSE_S)
            self._flooded.clear()
            requests = await self._subscribed()
        # New requests now go to other gateways of the queue group; those received are still stored.
        await requests.drain()
        while self._tasks:
            await asyncio.wait(self._tasks)
        for task in self._repeats:
            task.cancel()

    async def _subscribed(self) -> Any:
        return await self._bus.client.subscribe(
            self._kind.subject,
            queue=QUEUE_GROUP,
            cb=self._receive,
            pending_bytes_limit=PENDING_BYTES,
        )

    async def _receive(self, message: Msg) -> None:
        self.received += 1
        if self._kind.guest and self._storing_slots.locked():
            # Checked first, so that a flood costs little.
            await self._refuse(message.reply, TOO_MANY, self._kind.busy)
            return
        # nats-py runs callbacks one at a time, so this wait applies back-pressure to the rest.
        await self._storing_slots.acquire()
        task = asyncio.create_task(self._answer(message))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._storing_slots.release()
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger().error("request failed", error=repr(error))

    async def _answer(self, message: Msg) -> None:
        if not is_inbox(message.reply, guest=self._kind.guest):
            await self._dead_letter(message)
            return
        try:
            ask = ask_of(
                message.data,
                message.headers or {},
                message.reply,
                guest=self._kind.guest,
                now=datetime.now(UTC),
                fresh_id=secrets.token_hex(16),
            )
            with tracing.asked_by(message.headers):
                new = await self._stored(ask)
        except Refused as error:
            await self._refuse(message.reply, error.code, error.reason)
        except TooLarge as error:
            await self._refuse(message.reply, TOO_LARGE, str(error))
        except StoreFull as error:
            await self._refuse(message.reply, UNAVAILABLE, f"{error}; try again later")
        except OverQuota:
            await self._refuse(message.reply, TOO_MANY, self._kind.over_quota)
        except Unavailable as error:
            await self._refuse(message.reply, UNAVAILABLE, f"{error}; try again later")
        else:
            if not new:
                await self._await_answer(ask)

    async def _dead_letter(self, message: Msg) -> None:
        self._count_refused()
        reason = "the reply subject is not an inbox" if message.reply else "no reply subject"
        if times := self._throttle.times(reason, self._now()):
            logger().warning(
                "request without an inbox", reason=reason, guest=self._kind.guest, times=times
            )
        if not self._kind.guest:
            await self._bus.dead_letter(
                subject=self._kind.subject,
                data=message.data,
                reason=reason,
                limit_bytes=DEAD_REQUEST_BYTES,
            )

    async def _stored(self, ask: Ask) -> bool:
        """Stores a question after all earlier ones of its user; False for a repeated one."""
        if self._storing[ask.user] >= self._kind.storing_limit_per_user:
            raise Refused(TOO_MANY, self._kind.busy)
        self._storing[ask.user] += 1
        try:
            async with self._queues.of(ask.user):
                return await self._counted(ask)
        finally:
            self._storing[ask.user] -= 1
            if not self._storing[ask.user]:
                del self._storing[ask.user]

    async def _counted(self, ask: Ask) -> bool:
        uncounted = ask.id not in self.open_questions
        if uncounted and not self.open_questions.add(ask.id, self._now()):
            raise Refused(TOO_MANY, self._kind.busy)
        new = False
        try:
            new = await self._bus.publish(
                ask, patience_s=PATIENCE_S, quota_of=PLATFORM if self._kind.guest else None
            )
        finally:
            if uncounted and not new:
                self.open_questions.remove(ask.id)
        return new

    async def _await_answer(self, ask: Ask) -> None:
        """Answers a repeated question as soon as the journal has the reply."""
        kind = self._kind
        waiting = list(self._repeats.values())
        if (
            len(waiting) >= kind.repeats_limit
            or waiting.count(ask.user) >= kind.repeats_limit_per_user
        ):
            await self._refuse(ask.address["inbox"], TOO_MANY, kind.busy)
            return
        # A separate task that holds no storing slot: a retry storm must not keep out new questions.
        task = asyncio.create_task(self._repeat(ask))
        self._repeats[task] = ask.user
        task.add_done_callback(lambda task: self._repeats.pop(task, None))

    async def _repeat(self, ask: Ask) -> None:
        reply = await self._bus.reply_when_stored(ask.user, ask.id, timeout_s=WAIT_FOR_STORED_S)
        if reply is None:
            await self._refuse(ask.address["inbox"], UNAVAILABLE, "no answer yet; try again later")
        else:
            await send(self._bus, ask.address["inbox"], reply.text, reply)

    def _count_refused(self) -> None:
        self.refused += 1
        if self._now() - self._refused_since > PAUSE_S:
            self._refused_since, self._refused_lately = self._now(), 0
        self._refused_lately += 1
        if self._kind.guest and self._refused_lately > FLOOD_REFUSALS:
            self._flooded.set()

    async def _refuse(self, inbox: str, code: str, reason: str) -> None:
        self._count_refused()
        if times := self._throttle.times(code, self._now()):
            guest = self._kind.guest
            logger().info("refused", code=code, reason=reason, guest=guest, times=times)
        if not is_inbox(inbox, guest=self._kind.guest):
            return
        try:
            await self._bus.client.publish(inbox, reason.encode(), headers=_refusal(reason, code))
        except nats.errors.Error as error:
            logger().warning("refusal not sent", error=repr(error))


async def send(bus: Bus, inbox: str, text: str, reply: Reply) -> None:
    """Publishes an answer; a failure notice also has the error headers.

    Raises:
        nats.errors.Error: NATS cannot take it now.
    """
    failed = reply.outcome in {"failed", "refused"}
    headers = _refusal(text, UNAVAILABLE) if failed else None
    await bus.client.publish(inbox, text.encode(), headers=headers)


def _refusal(reason: str, code: str) -> dict[str, str]:
    """The error headers; the body has the reason too, for clients that read no headers."""
    return {ERROR_HEADER: " ".join(reason.split())[:500] or "failed", ERROR_CODE_HEADER: code}
