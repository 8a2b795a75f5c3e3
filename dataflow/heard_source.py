"""The one source of the flow: events of the partitions that are held, and results of effects.

An idle worker sleeps here. Partitions come and go while it runs, so Bytewax knows nothing of them,
and nothing of this is recovered: `partitions/` stores it.
"""

from datetime import UTC, datetime
from typing import Final

from bytewax.inputs import DynamicSource, StatelessSourcePartition

from dataflow.heard import Heard
from dataflow.io_thread import IoThread
from dataflow.partitions.in_memory import InMemory, Storage

NOW: Final = datetime.fromtimestamp(0, UTC)
"""A time in the past: Bytewax calls again at the next step. Without one it would sleep for 1 ms."""


class HeardSource(DynamicSource[tuple[str, Heard]]):
    """What the conversations of this process hear."""

    def __init__(self, io: IoThread, in_memory: InMemory, storage: Storage) -> None:
        self._parts = io, in_memory, storage

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "HeardPartition":
        """The source of the only worker."""
        del step_id, worker_index, worker_count
        return HeardPartition(*self._parts)


class HeardPartition(StatelessSourcePartition[tuple[str, Heard]]):
    """Drains the inbox and the partitions."""

    def __init__(self, io: IoThread, in_memory: InMemory, storage: Storage) -> None:
        self._io = io
        self._in_memory = in_memory
        self._storage = storage

    def next_batch(self) -> list[tuple[str, Heard]]:
        """What is to be handled now, with the users as keys; sleeps first if there is nothing."""
        self._io.working = True
        inbox = self._io.inbox
        items = self._in_memory.take(inbox.results, self._storage)
        if not items:
            inbox.sleep_if_idle()
            items = self._in_memory.take(inbox.results, self._storage)
        if items:
            inbox.stay_awake()
        elif self._io.stopping and self._in_memory.is_empty and not inbox.results:
            raise StopIteration
        return items

    def next_awake(self) -> datetime:
        """At the next step."""
        return NOW
