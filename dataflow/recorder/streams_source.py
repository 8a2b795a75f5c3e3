"""The streams of events, replies and receipts as one Bytewax source.

Each stream is read from its position in the database. It must never hold more than a bounded part
of a stream in memory, however long the database is away.
"""

import asyncio
import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import Final

from bytewax.inputs import DynamicSource, StatelessSourcePartition
from nats.aio.msg import Msg

from dataflow.io_thread import IoThread
from dataflow.recorder.changes import Stored
from shared import names
from shared.bus import Bus
from shared.follow import Position, follow

WRITE_EVERY_S: Final = 0.5
"""How often new messages are written: the more there are in a transaction, the less each costs."""

BATCH: Final = 1000
"""Messages in one transaction."""

HELD_BYTES: Final = 16 << 20
"""Messages of a stream that wait in memory; the others wait on the server."""

SPACE_EVERY_S: Final = 0.1

NOW: Final = datetime.fromtimestamp(0, UTC)


class StreamReader:
    """One stream, filled by the asyncio thread and drained by the worker."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.to_come: int | None = None
        """Messages of the stream that have not arrived; None until the stream was found."""
        self._arrived: deque[Stored] = deque()
        self._held_bytes = 0
        self._lock = threading.Lock()
        self._created_at: datetime | None = None

    async def read(
        self, bus: Bus, filter_subject: str, after: Position, *, overwritten: bool
    ) -> None:
        """Reads forever."""
        await follow(
            bus, self.stream, filter_subject, after=after, deliver=self._take,
            opened=self._opened, pending=self._pending, overwritten=overwritten,
        )  # fmt: skip

    def take(self, limit: int) -> list[Stored]:
        """The next messages. Call from the worker's thread."""
        with self._lock:
            taken = [self._arrived.popleft() for _ in range(min(limit, len(self._arrived)))]
            self._held_bytes -= sum(len(message.data) for message in taken)
        return taken

    @property
    def waiting(self) -> int:
        """How many messages wait here."""
        return len(self._arrived)

    def oldest(self) -> datetime | None:
        """When the first of them was stored."""
        with self._lock:
            return self._arrived[0].stored_at if self._arrived else None

    def _opened(self, position: Position, last_sequence: int) -> None:
        del last_sequence
        self._created_at = position.stream

    def _pending(self, count: int) -> None:
        self.to_come = count

    async def _take(self, message: Msg) -> None:
        while self._held_bytes > HELD_BYTES:  # noqa: ASYNC110  (the worker's thread makes space)
            await asyncio.sleep(SPACE_EVERY_S)
        metadata = message.metadata
        stored = Stored(
            self.stream, message.subject, message.data,
            metadata.sequence.stream, metadata.timestamp, self._created_at,
        )  # fmt: skip
        with self._lock:
            self._arrived.append(stored)
            self._held_bytes += len(stored.data)
        self.to_come = metadata.num_pending


class StreamsSource(DynamicSource[Stored]):
    """All streams; one worker reads them."""

    def __init__(
        self, io: IoThread, bus: Bus, after: dict[str, Position], *, until_caught_up: bool
    ) -> None:
        """`until_caught_up`: ends when everything was read, instead of waiting for more."""
        self._io = io
        self._bus = bus
        self._until_caught_up = until_caught_up
        self.readers = tuple(
            StreamReader(stream) for stream in (names.PROMPTS, names.REPLIES, names.RECEIPTS_STREAM)
        )
        self._after = after

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "StreamsPartition":
        """The source of the first worker. Does not wait."""
        del step_id, worker_index, worker_count
        filters = (names.STORED_PROMPTS, names.REPLY_SUBJECTS, names.first_receipts())
        for reader, filter_subject in zip(self.readers, filters, strict=True):
            is_bucket = reader.stream == names.RECEIPTS_STREAM
            after = self._after.get(reader.stream, Position())
            reading = reader.read(self._bus, filter_subject, after, overwritten=is_bucket)
            self._io.spawn(reading)
        return StreamsPartition(self._io, self.readers, until_caught_up=self._until_caught_up)


class StreamsPartition(StatelessSourcePartition[Stored]):
    """Takes from each stream in turn."""

    def __init__(
        self, io: IoThread, readers: tuple[StreamReader, ...], *, until_caught_up: bool
    ) -> None:
        self._io = io
        self._readers = readers
        self._until_caught_up = until_caught_up
        self._inbox = io.inbox
        self._write_every_s = 0.0 if until_caught_up else WRITE_EVERY_S
        self._write_at_s = 0.0

    def next_batch(self) -> list[Stored]:
        """Messages in the order of their streams.

        Sleeps if there are none: Bytewax would ask again every millisecond.
        """
        self._io.working = True
        self._inbox.sleep_if_idle()
        if not self._is_time_to_write():
            return []
        # Asked first: what arrives after that is taken below, or in the next step.
        caught_up = all(reader.to_come == 0 for reader in self._readers)
        taken = [message for reader in self._readers for message in reader.take(BATCH)]
        if not taken and (self._io.stopping or (caught_up and self._until_caught_up)):
            raise StopIteration
        if taken:
            self._inbox.stay_awake()
        self._write_at_s = time.monotonic() + self._write_every_s
        return taken

    def next_awake(self) -> datetime:
        """At once: `next_batch` sleeps."""
        return NOW

    def _is_time_to_write(self) -> bool:
        return (
            self._io.stopping
            or time.monotonic() >= self._write_at_s
            or any(reader.waiting >= BATCH for reader in self._readers)
        )
