"""Group commit: messages that wait for the server's disk at the same time share one sync.

nats-server syncs before each acknowledgement. An atomic batch
(https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-50.md) has one
acknowledgement, and nats-server 2.15 syncs it as a whole. A batch also costs syncs of its own, so
small numbers of messages are sent one by one (docs/decisions/0008-group-commit.md has figures).

It must never report a message as stored before the server has acknowledged it.
"""

import asyncio
import itertools
import json
import secrets
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from shared import metrics
from shared.connection import TRANSIENT
from shared.log import logger

SINGLES_LIMIT: Final = 32
"""Messages sent one by one at the same time; further ones wait for a slot or a batch."""

BATCH_FROM: Final = 32
"""The smallest batch: it takes as long as some 15 single messages."""

BATCH_MESSAGES: Final = 250  # the server takes 1000
"""The largest batch: each message waits for the whole batch."""

BATCHES_AT_ONCE: Final = 4
"""A busy process reads acknowledgements late; with one batch at a time, nothing is stored then."""

BATCH_BYTES: Final = 4 << 20
"""A batch ends with the message that reaches this size: far below the connection's buffer."""

BATCHES_AGAIN_AFTER_S: Final = 60.0
"""A stream that does not allow batches is asked again after this: it may be upgraded."""

BATCH_ID: Final = "Nats-Batch-Id"
BATCH_SEQUENCE: Final = "Nats-Batch-Sequence"
BATCH_COMMIT: Final = "Nats-Batch-Commit"

ANSWERED_ALREADY: Final = frozenset({10071, 10164})
"""Wrong last sequence: the subject has a message already, or is getting one from a cluster peer."""

_BATCHES_ARE_OFF: Final = 10174


@dataclass(slots=True)
class _Waiting:
    """A waiting message. `stored`: True if a batch stored it, False if it must be sent alone."""

    subject: str
    data: bytes
    headers: dict[str, str]
    stored: asyncio.Future[bool]


class GroupCommit:
    """Stores the messages of one connection in one stream, those of a subject in order."""

    def __init__(
        self, client: Client, js: JetStreamContext, *, timeout_s: float, stream: str = ""
    ) -> None:
        """`stream` is a label of metrics."""
        self._stream = stream
        self._seconds = metrics.store_s.labels(stream)
        self._client = client
        self._js = js
        self._timeout_s = timeout_s
        self._singles = 0
        self._waiting: deque[_Waiting] = deque()
        self._batches: set[asyncio.Task[None]] = set()
        self._subjects: set[str] = set()
        """Subjects in batches in progress.

        The messages of a refused batch are sent again, so newer ones on its subjects must wait.
        """
        self._batches_from_s = 0.0
        self._name = secrets.token_hex(8)  # unique among all connections
        self._numbers = itertools.count(1)

    async def store(self, subject: str, data: bytes, headers: dict[str, str]) -> bool:
        """Returns once the server has the message on disk: True if it is new, False if not.

        Raises:
            nats.js.errors.APIError: the server refuses this message.
            nats.errors.Error, TimeoutError, OSError: no answer from NATS; it may be stored.
        """
        started = time.monotonic()
        try:
            new = await self._store(subject, data, headers)
        except nats.js.errors.APIError as error:
            if error.err_code not in ANSWERED_ALREADY:
                metrics.store_failed.labels(self._stream, "refused").inc()
            raise
        except TRANSIENT:
            metrics.store_failed.labels(self._stream, "no answer").inc()
            raise
        self._seconds.observe(time.monotonic() - started)
        return new

    async def _store(self, subject: str, data: bytes, headers: dict[str, str]) -> bool:
        if self._waiting or not self._has_slot:
            if await self._stored_in_batch(subject, data, headers):
                return True
        else:
            self._singles += 1
        try:
            return not (await self._js.publish(subject, data, headers=headers)).duplicate
        finally:
            self._singles -= 1
            self._go_on()

    @property
    def _has_slot(self) -> bool:
        return self._singles < SINGLES_LIMIT and not self._batches

    @property
    def _batch_pays(self) -> bool:
        """Whether to send a batch now. While another is in progress, only a full one pays."""
        pays_from = BATCH_MESSAGES if self._batches else BATCH_FROM
        return (
            len(self._batches) < BATCHES_AT_ONCE
            and len(self._waiting) >= pays_from
            and asyncio.get_running_loop().time() >= self._batches_from_s
        )

    async def _stored_in_batch(self, subject: str, data: bytes, headers: dict[str, str]) -> bool:
        """Whether a batch stored the message; if not, it holds a slot to be sent alone."""
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[bool] = loop.create_future()
        self._waiting.append(_Waiting(subject, data, headers, stored))
        if len(self._waiting) in {BATCH_FROM, BATCH_MESSAGES}:
            loop.call_soon(self._go_on)  # after the messages that arrive at the same moment
        try:
            return await stored
        except asyncio.CancelledError:
            if not stored.cancelled() and not stored.exception() and not stored.result():
                self._singles -= 1
                self._go_on()
            raise

    def _go_on(self) -> None:
        """Sends a batch if that pays; otherwise gives free slots to waiting messages."""
        while self._batch_pays and (batch := self._next_batch()):
            task = asyncio.get_running_loop().create_task(self._send(batch))
            self._batches.add(task)
            task.add_done_callback(self._sent)
        while self._waiting and self._has_slot:
            self._send_alone(self._waiting.popleft())

    def _send_alone(self, waiting: _Waiting) -> None:
        if not waiting.stored.done():
            self._singles += 1
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
        stored, unanswered = False, False
        try:
            stored = await self._stored_together(batch)
        except TRANSIENT:
            unanswered = True
        except Exception:  # noqa: BLE001  (a defect must not leave messages waiting)
            logger().exception("batch failed: its messages are sent one by one")
        self._subjects.difference_update(waiting.subject for waiting in batch)
        for waiting in batch:
            if waiting.stored.done():
                continue  # its sender was cancelled
            if unanswered:
                waiting.stored.set_exception(nats.errors.TimeoutError())
            elif stored:
                waiting.stored.set_result(True)
            else:
                self._send_alone(waiting)

    def _sent(self, batch: asyncio.Task[None]) -> None:
        self._batches.discard(batch)
        self._go_on()

    async def _stored_together(self, batch: list[_Waiting]) -> bool:
        """False if the server refused the whole batch, often because of one message."""
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
        response = json.loads(answer.data)
        if response.get("count") == len(batch):
            return True
        error = response.get("error", {})
        logger().debug("batch refused", error=error.get("description", "batches are unknown"))
        if error.get("err_code") in {None, _BATCHES_ARE_OFF}:
            self._batches_from_s = asyncio.get_running_loop().time() + BATCHES_AGAIN_AFTER_S
        return False
