"""The gateway as a chat platform: a request on `prompts` is a question, its inbox gets the answer.

It must never publish anything to a subject that is no inbox, whatever a request says.
"""

import asyncio
import secrets
from datetime import UTC, datetime
from typing import Final

import nats.errors
from nats.aio.msg import Msg

from bots.gateway.request import (
    PLATFORM,
    TOO_LARGE,
    UNAVAILABLE,
    Refused,
    ask_of,
    is_inbox,
)
from bots.platform import Gone, Later, Part, Publish
from bots.split_text import Length
from shared import names
from shared.bus import Bus, TooLarge
from shared.connection import Unavailable
from shared.log import logger
from shared.messages import Ask, Partial, Reply

QUEUE_GROUP: Final = "gateway"

ERROR_HEADER: Final = "Nats-Service-Error"
ERROR_CODE_HEADER: Final = "Nats-Service-Error-Code"
"""As NATS micro services refuse (ADR-32)."""

CONCURRENT: Final = 1000
"""Requests between their arrival and their storage; more wait in the client's own buffer."""

PATIENCE_S: Final = 2.0
"""Longer than a restart of NATS's leader, shorter than an asker's usual time-out of 5 s."""

WAIT_FOR_STORED_S: Final = 600.0
"""For the answer to a question that was asked before: longer than any model call may take."""

POST_AGAIN_S: Final = 1.0


class Gateway:
    """Bridges plain requests to stored events; keeps nothing about them."""

    name: str = PLATFORM
    parts_limit: int = 1
    text_limit_chars: int = 10_000_000
    """A reply fits one message, so one answer is one message."""
    text_length: Length = staticmethod(len)

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._room = asyncio.Semaphore(CONCURRENT)
        self._tasks: set[asyncio.Task[None]] = set()
        self._repeats: set[asyncio.Task[None]] = set()
        self._closed = asyncio.Event()
        self.listening = asyncio.Event()
        self._requests = 0
        self._refused = 0

    async def listen(self, publish: Publish) -> None:
        """Takes requests until it is closed.

        Asks through the bus itself: only that tells whether a question is a repeated one.
        """
        del publish
        requests = await self._bus.client.subscribe(
            names.GATEWAY_SUBJECT, queue=QUEUE_GROUP, cb=self._receive
        )
        await self._bus.client.flush()
        self.listening.set()
        await self._closed.wait()
        # Others of the queue group get what comes from here on; what came is still stored.
        await requests.drain()  # type: ignore[no-untyped-call]
        while self._tasks:
            await asyncio.wait(self._tasks)
        for task in self._repeats:
            task.cancel()

    def counts(self) -> tuple[int, int]:
        """Requests taken and refused since the start."""
        return self._requests, self._refused

    async def _receive(self, message: Msg) -> None:
        # Callbacks run one at a time, so this only makes room; waiting here holds no request up
        # that could be worked on.
        self._requests += 1
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
        if not is_inbox(message.reply):
            reason = "the reply subject is no inbox" if message.reply else "no reply subject"
            self._refused += 1
            logger().warning("not asked", reason=reason, reply=message.reply[:100])
            # Also counts it.
            await self._bus.bury(subject=names.GATEWAY_SUBJECT, data=message.data, reason=reason)
            return
        try:
            ask = ask_of(
                message.data,
                message.headers or {},
                message.reply,
                now=datetime.now(UTC),
                fresh_id=secrets.token_hex(16),
            )
            new = await self._bus.publish(ask, patience_s=PATIENCE_S)
        except Refused as error:
            await self._refuse(message.reply, error.code, error.reason)
        except TooLarge as error:
            await self._refuse(message.reply, TOO_LARGE, str(error))
        except Unavailable as error:
            await self._refuse(message.reply, UNAVAILABLE, f"{error}; try again later")
        else:
            if not new:
                self._spawn_repeat(ask)

    def _spawn_repeat(self, ask: Ask) -> None:
        # Holds no room: a retry storm must not keep new questions out.
        task = asyncio.create_task(self._repeat(ask))
        self._repeats.add(task)
        task.add_done_callback(self._repeats.discard)

    async def _repeat(self, ask: Ask) -> None:
        """Answers a question that was stored before from the journal."""
        reply = await self._bus.reply_when_stored(ask.user, ask.id, timeout_s=WAIT_FOR_STORED_S)
        if reply is None:
            await self._refuse(ask.address["inbox"], UNAVAILABLE, "no answer yet; try again later")
        else:
            await self._send(ask.address["inbox"], reply.text, reply)

    async def _refuse(self, inbox: str, code: str, reason: str) -> None:
        self._refused += 1
        logger().info("refused", code=code, reason=reason)
        headers = {ERROR_HEADER: " ".join(reason.split()), ERROR_CODE_HEADER: code}
        try:
            await self._bus.client.publish(inbox, headers=headers)
        except nats.errors.Error as error:
            logger().warning("could not refuse", error=repr(error))

    async def _send(self, inbox: str, text: str, reply: Reply) -> None:
        headers = None
        if reply.outcome in ("failed", "refused"):
            # The words are in the body too, for askers that know no headers.
            words = " ".join(text.split())[:500] or "failed"
            headers = {ERROR_HEADER: words, ERROR_CODE_HEADER: UNAVAILABLE}
        await self._bus.client.publish(inbox, text.encode(), headers=headers)

    async def post(self, part: Part) -> str:
        """Publishes an answer to its asker's inbox, which is the receipt.

        Raises:
            Gone: the reply has no inbox.
            Later: NATS cannot be reached.
        """
        inbox = part.reply.address.get("inbox", "")
        if not is_inbox(inbox):
            raise Gone("the reply has no inbox to go to")
        text = part.reply.text if part.count == 1 and part.reply.text.strip() else part.text
        try:
            await self._send(inbox, text, part.reply)
        except nats.errors.Error as error:
            raise Later("NATS does not take it now", POST_AGAIN_S) from error
        return inbox

    async def find_posted(self, part: Part) -> str | None:
        """None: an inbox cannot be asked, and an asker takes the first answer only."""
        del part
        return None

    async def show_partial(self, partial: Partial) -> None:
        """Nothing: a request has one answer."""

    async def withdraw(self, reply: Reply) -> None:
        """Nothing: what was sent is with the asker."""

    async def close(self) -> None:
        """Takes no more requests; returns at once, `listen` returns when all are stored."""
        self._closed.set()
