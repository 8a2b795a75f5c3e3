"""What comes back into the flow: journaled replies, and news of conversations that should rest.

Also where an idle worker sleeps. Not recovered: the journal is, and pending questions find their
replies there.
"""

import time
from datetime import datetime
from typing import Final

from bytewax.inputs import DynamicSource, StatelessSourcePartition

from dataflow.answering import Answering
from dataflow.conversation_step import Heard, Rest
from dataflow.eviction.idle import Idle
from dataflow.io_thread import IoThread
from dataflow.prompts_source import BATCH, NOW

_DISK_NAP_S: Final = 0.1


class CompletionsSource(DynamicSource[tuple[str, Heard]]):
    """What the worker's own effects led to."""

    def __init__(self, io: IoThread, answering: Answering, idle: Idle) -> None:
        self._io = io
        self._answering = answering
        self._idle = idle

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "CompletionsPartition":
        """The part of the worker in whose thread this is called."""
        del step_id, worker_index, worker_count
        return CompletionsPartition(self._io, self._answering, self._idle)


class CompletionsPartition(StatelessSourcePartition[tuple[str, Heard]]):
    """Drains one worker's seat."""

    def __init__(self, io: IoThread, answering: Answering, idle: Idle) -> None:
        self._io = io
        self._answering = answering
        self._idle = idle
        self._seat = io.seat()

    def next_batch(self) -> list[tuple[str, Heard]]:
        """What came back, with its user as key, after a nap if there was nothing."""
        self._io.working = True
        while self._io.disk_full and not self._io.stopping:
            time.sleep(_DISK_NAP_S)  # no step, no epoch, no write
        completions = self._seat.completions
        completions.extend((user, Rest()) for user in self._idle.due())
        if not completions:
            self._seat.park()
        taken = [completions.popleft() for _ in range(min(len(completions), BATCH))]
        if taken:
            self._seat.busy()
        elif self._io.stopping and self._answering.idle and not completions:
            raise StopIteration
        return taken

    def next_awake(self) -> datetime:
        """At the next step."""
        return NOW
