"""Group commit: messages that wait for the server's disk at the same time share one sync.

nats-server syncs before each acknowledgement. An atomic batch
(https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-50.md) is acknowledged
as a whole, and nats-server 2.15 syncs it as a whole. It costs some syncs of its own, so a few
messages go one by one as ever.

Must never say that something is stored before the server has said so.
"""

import asyncio
import itertools
import json
import secrets
from collections import deque
from dataclasses import dataclass
from typing import Final

import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from shared.connection import TRANSIENT
from shared.log import logger

ALONE_AT_ONCE: Final = 32
"""So many messages are on their way one by one; what comes then waits for room, or for a batch."""

BATCH_FROM: Final = 32
"""From here on a batch is quicker: its staging costs as much as some 15 messages one by one."""

BATCH_MESSAGES: Final = 250  # the server takes 1000
"""Whoever is in a batch waits for all of it: with 5000 in flight, one batch at a time and files in
memory, 500 and 64 both gave a tenth fewer answers than 150 to 250."""

BATCHES_AT_ONCE: Final = 4
"""With 5000 in flight messages waited 200 ms for those before them. One batch took 40 ms, and half
of that were the server's: then its acknowledgement waited for a busy process."""

BATCH_BYTES: Final = 4 << 20
"""With the message that reaches this a batch ends: far less than the connection can hold back."""

ASK_AGAIN_AFTER_S: Final = 60.0
"""A stream that takes no batches may take them once somebody has brought it up to date."""

BATCH_ID: Final = "Nats-Batch-Id"
BATCH_SEQUENCE: Final = "Nats-Batch-Sequence"
BATCH_COMMIT: Final = "Nats-Batch-Commit"

_BATCHES_ARE_OFF: Final = 10174


@dataclass(slots=True)
class _Waiting:
    """A message that waits. True: stored in a batch; False: it is to be sent by itself."""

    subject: str
    data: bytes
    headers: dict[str, str]
    stored: asyncio.Future[bool]


class GroupCommit:
    """The way into one stream, for the messages of one connection: those of a subject in order."""

    def __init__(self, client: Client, js: JetStreamContext, *, timeout_s: float) -> None:
        self._client = client
        self._js = js
        self._timeout_s = timeout_s
        self._alone = 0
        self._waiting: deque[_Waiting] = deque()
        self._batches: set[asyncio.Task[None]] = set()
        self._subjects: set[str] = set()
        """Those in batches that are on their way: of one that is refused, messages come later."""
        self._batches_from_s = 0.0
        self._name = secrets.token_hex(8)  # batches of all connections meet in the stream
        self._numbers = itertools.count(1)

    async def store(self, subject: str, data: bytes, headers: dict[str, str]) -> bool:
        """Returns when the server has the message on its disk: True if it was new to it.

        Raises:
            nats.js.errors.APIError: the server refuses this message.
            nats.errors.Error, TimeoutError, OSError: NATS does not answer; it may be stored.
        """
        if self._waiting or not self._room:
            if await self._stored_in_batch(subject, data, headers):
                return True
        else:
            self._alone += 1
        try:
            return not (await self._js.publish(subject, data, headers=headers)).duplicate
        finally:
            self._alone -= 1
            self._go_on()

    @property
    def _room(self) -> bool:
        return self._alone < ALONE_AT_ONCE and not self._batches

    @property
    def _pays(self) -> bool:
        """Beside another batch a full one does: what comes meanwhile shares the next one's sync."""
        pays_from = BATCH_MESSAGES if self._batches else BATCH_FROM
        return (
            len(self._batches) < BATCHES_AT_ONCE
            and len(self._waiting) >= pays_from
            and asyncio.get_running_loop().time() >= self._batches_from_s
        )

    async def _stored_in_batch(self, subject: str, data: bytes, headers: dict[str, str]) -> bool:
        """False: it was given a place among those that go alone."""
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[bool] = loop.create_future()
        self._waiting.append(_Waiting(subject, data, headers, stored))
        if len(self._waiting) in {BATCH_FROM, BATCH_MESSAGES}:
            loop.call_soon(self._go_on)  # behind those who come in this same moment
        try:
            return await stored
        except asyncio.CancelledError:
            if not stored.cancelled() and not stored.exception() and not stored.result():
                self._alone -= 1
                self._go_on()
            raise

    def _go_on(self) -> None:
        """Sends a batch where it pays; otherwise gives those that wait the places that are free."""
        while self._pays and (batch := self._next_batch()):
            task = asyncio.get_running_loop().create_task(self._send(batch))
            self._batches.add(task)
            task.add_done_callback(self._sent)
        while self._waiting and self._room:
            self._send_alone(self._waiting.popleft())

    def _send_alone(self, waiting: _Waiting) -> None:
        if not waiting.stored.done():
            self._alone += 1
            waiting.stored.set_result(False)

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < BATCH_MESSAGES and size < BATCH_BYTES:
            if self._waiting[0].subject in self._subjects:
                break
            waiting = self._waiting.popleft()
            if not waiting.stored.done():
                batch.append(waiting)
                size += len(waiting.data)
        self._subjects.update(waiting.subject for waiting in batch)
        return batch

    async def _send(self, batch: list[_Waiting]) -> None:
        stored, unheard = False, False
        try:
            stored = await self._stored_together(batch)
        except TRANSIENT:
            unheard = True
        except Exception:  # noqa: BLE001  (a defect here must not leave anybody waiting)
            logger().exception("a batch failed: its messages go one by one")
        self._subjects.difference_update(waiting.subject for waiting in batch)
        for waiting in batch:
            if waiting.stored.done():
                continue  # nobody waits for it any more
            if unheard:
                waiting.stored.set_exception(nats.errors.TimeoutError())
            elif stored:
                waiting.stored.set_result(True)
            else:
                self._send_alone(waiting)

    def _sent(self, batch: asyncio.Task[None]) -> None:
        self._batches.discard(batch)
        self._go_on()

    async def _stored_together(self, batch: list[_Waiting]) -> bool:
        """False: the server refuses the batch, mostly for one of its messages, and has none."""
        if len(batch) < BATCH_FROM:
            return False
        name = f"{self._name}-{next(self._numbers)}"
        *others, last = batch
        try:
            for number, waiting in enumerate(others, start=1):
                headers = {**waiting.headers, BATCH_ID: name, BATCH_SEQUENCE: str(number)}
                await self._client.publish(waiting.subject, waiting.data, headers=headers)
            headers = {**last.headers, BATCH_ID: name, BATCH_SEQUENCE: str(len(batch)),
                       BATCH_COMMIT: "1"}  # fmt: skip
            answer = await self._client.request(
                last.subject, last.data, timeout=self._timeout_s, headers=headers
            )
        except nats.errors.MaxPayloadError:
            return False
        told = json.loads(answer.data)
        if told.get("count") == len(batch):
            return True
        error = told.get("error", {})
        logger().debug("no batch", error=error.get("description", "it was taken as one message"))
        if error.get("err_code") in {None, _BATCHES_ARE_OFF}:
            self._batches_from_s = asyncio.get_running_loop().time() + ASK_AGAIN_AFTER_S
        return False
