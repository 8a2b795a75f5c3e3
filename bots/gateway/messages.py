"""Requests on their way into the stream: one intake for clients with credentials, one for guests.

They share nothing, so that however much guests send, nobody else waits for it. It must never
publish to a subject that is not the asker's inbox, whatever a request says.
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

from bots.gateway.client_kinds import Asker
from bots.gateway.events import (
    PLATFORM,
    TOO_LARGE,
    TOO_MANY,
    UNAVAILABLE,
    Refused,
    ask_of,
    is_inbox,
)
from bots.gateway.open_questions import Unanswered
from bots.user_queues import UserQueues
from shared.bus import Bus, OverQuota, StoreFull, TooLarge
from shared.connection import Unavailable
from shared.log import logger
from shared.log_throttle import Seldom
from shared.messages import Ask, Reply

QUEUE_GROUP: Final = "gateway"

ERROR_HEADER: Final = "Nats-Service-Error"
ERROR_CODE_HEADER: Final = "Nats-Service-Error-Code"
"""As NATS micro services refuse (ADR-32)."""

PATIENCE_S: Final = 2.0
"""Longer than a restart of NATS's leader, shorter than an asker's usual time-out of 5 s."""

WAIT_FOR_STORED_S: Final = 600.0
"""For the answer to a question that was asked before: longer than any model call may take."""

DEAD_REQUEST_BYTES: Final = 4096
"""Kept of a request that nobody can be told about: enough to find out who sent it."""

PENDING_BYTES: Final = 32 << 20
"""Requests that wait in this process's memory; the client library drops what exceeds it."""

FLOOD_REFUSALS: Final = 200
"""Refused guests within `PAUSE_S` after which none is listened to for as long: reading and refusing
a flood would take the processor from everybody. The server tells guests then that nobody is there.
"""

PAUSE_S: Final = 1.0


class Intake:
    """Takes the requests of one kind of asker; keeps nothing about those that are stored."""

    def __init__(self, bus: Bus, asker: Asker, now: Callable[[], float] = time.monotonic) -> None:
        self.requests = 0
        self.refused = 0
        self.unanswered = Unanswered(asker.unanswered)
        self._bus = bus
        self._asker = asker
        self._now = now
        self._room = asyncio.Semaphore(asker.storing)
        self._storing: Counter[str] = Counter()
        self._queues = UserQueues()
        self._tasks: set[asyncio.Task[None]] = set()
        self._repeats: dict[asyncio.Task[None], str] = {}
        self._seldom = Seldom()
        self._flooded = asyncio.Event()
        self._refused_since = 0.0
        self._refused_lately = 0

    async def run(self, closed: asyncio.Event, listening: asyncio.Event) -> None:
        """Sets `listening`, takes requests until `closed`, and returns when all are stored."""
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
            # Not drained: what the flood left in buffers is dropped.
            await requests.unsubscribe()
            await asyncio.wait({closing}, timeout=PAUSE_S)
            self._flooded.clear()
            requests = await self._subscribed()
        # Others of the queue group get what comes from here on; what came is still stored.
        await requests.drain()
        while self._tasks:
            await asyncio.wait(self._tasks)
        for task in self._repeats:
            task.cancel()

    async def _subscribed(self) -> Any:
        return await self._bus.client.subscribe(
            self._asker.subject,
            queue=QUEUE_GROUP,
            cb=self._receive,
            pending_bytes_limit=PENDING_BYTES,
        )

    async def _receive(self, message: Msg) -> None:
        self.requests += 1
        if self._asker.guest and self._room.locked():
            # Before anything else is done, so that a flood costs little.
            await self._refuse(message.reply, TOO_MANY, self._asker.busy)
            return
        # Callbacks run one at a time, so this only makes room; waiting here holds no request up
        # that could be worked on.
        await self._room.acquire()
        task = asyncio.create_task(self._answer(message))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._room.release()
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger().error("a request failed", error=repr(error))

    async def _answer(self, message: Msg) -> None:
        if not is_inbox(message.reply, guest=self._asker.guest):
            await self._not_asked(message)
            return
        try:
            ask = ask_of(
                message.data,
                message.headers or {},
                message.reply,
                guest=self._asker.guest,
                now=datetime.now(UTC),
                fresh_id=secrets.token_hex(16),
            )
            new = await self._stored(ask)
        except Refused as error:
            await self._refuse(message.reply, error.code, error.reason)
        except TooLarge as error:
            await self._refuse(message.reply, TOO_LARGE, str(error))
        except StoreFull as error:
            await self._refuse(message.reply, UNAVAILABLE, f"{error}; try again later")
        except OverQuota:
            await self._refuse(message.reply, TOO_MANY, self._asker.over_quota)
        except Unavailable as error:
            await self._refuse(message.reply, UNAVAILABLE, f"{error}; try again later")
        else:
            if not new:
                await self._await_answer(ask)

    async def _not_asked(self, message: Msg) -> None:
        self._count_refused()
        reason = "the reply subject is no inbox" if message.reply else "no reply subject"
        if times := self._seldom.times(reason, self._now()):
            logger().warning("not asked", reason=reason, guest=self._asker.guest, times=times)
        if not self._asker.guest:
            await self._bus.bury(
                subject=self._asker.subject,
                data=message.data,
                reason=reason,
                limit_bytes=DEAD_REQUEST_BYTES,
            )

    async def _stored(self, ask: Ask) -> bool:
        """Stores a question after all earlier ones of its user; False if it was stored before."""
        if self._storing[ask.user] >= self._asker.storing_of_one:
            raise Refused(TOO_MANY, self._asker.busy)
        self._storing[ask.user] += 1
        try:
            async with self._queues.of(ask.user):
                return await self._counted(ask)
        finally:
            self._storing[ask.user] -= 1
            if not self._storing[ask.user]:
                del self._storing[ask.user]

    async def _counted(self, ask: Ask) -> bool:
        uncounted = ask.id not in self.unanswered
        if uncounted and not self.unanswered.add(ask.id, self._now()):
            raise Refused(TOO_MANY, self._asker.busy)
        new = False
        try:
            new = await self._bus.publish(
                ask, patience_s=PATIENCE_S, share_of=PLATFORM if self._asker.guest else None
            )
        finally:
            if uncounted and not new:
                self.unanswered.remove(ask.id)
        return new

    async def _await_answer(self, ask: Ask) -> None:
        """Answers a question that was stored before, once its answer is there."""
        asker = self._asker
        waiting = list(self._repeats.values())
        if len(waiting) >= asker.repeats or waiting.count(ask.user) >= asker.repeats_of_one:
            await self._refuse(ask.address["inbox"], TOO_MANY, asker.busy)
            return
        # In a task of its own, which holds no room: a retry storm must not keep new questions out.
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
        if self._asker.guest and self._refused_lately > FLOOD_REFUSALS:
            self._flooded.set()

    async def _refuse(self, inbox: str, code: str, reason: str) -> None:
        self._count_refused()
        if times := self._seldom.times(code, self._now()):
            guest = self._asker.guest
            logger().info("refused", code=code, reason=reason, guest=guest, times=times)
        if not is_inbox(inbox, guest=self._asker.guest):
            return
        try:
            await self._bus.client.publish(inbox, reason.encode(), headers=_refusal(reason, code))
        except nats.errors.Error as error:
            logger().warning("could not refuse", error=repr(error))


async def send(bus: Bus, inbox: str, text: str, reply: Reply) -> None:
    """Publishes an answer; a notice of failure has a header that says so.

    Raises:
        nats.errors.Error: the connection does not take it.
    """
    failed = reply.outcome in {"failed", "refused"}
    headers = _refusal(text, UNAVAILABLE) if failed else None
    await bus.client.publish(inbox, text.encode(), headers=headers)


def _refusal(reason: str, code: str) -> dict[str, str]:
    """The headers; the words are in the body too, for askers that read no headers."""
    return {ERROR_HEADER: " ".join(reason.split())[:500] or "failed", ERROR_CODE_HEADER: code}
