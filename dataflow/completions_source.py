"""Journaled replies coming back into the flow; also where an idle worker sleeps.

Not recovered: the journal is, and pending questions find their replies there.
"""

import time
from datetime import datetime
from typing import Final

from bytewax.inputs import DynamicSource, StatelessSourcePartition

from dataflow.answering import Answering
from dataflow.io_thread import IoThread
from dataflow.prompts_source import BATCH, NOW
from shared.messages import Reply

_DISK_NAP_S: Final = 0.1


class CompletionsSource(DynamicSource[tuple[str, Reply]]):
    """The worker's own completed replies."""

    def __init__(self, io: IoThread, answering: Answering) -> None:
        self._io = io
        self._answering = answering

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "CompletionsPartition":
        """The part of the worker in whose thread this is called."""
        del step_id, worker_index, worker_count
        return CompletionsPartition(self._io, self._answering)


class CompletionsPartition(StatelessSourcePartition[tuple[str, Reply]]):
    """Drains one worker's seat."""

    def __init__(self, io: IoThread, answering: Answering) -> None:
        self._io = io
        self._answering = answering
        self._seat = io.seat()

    def next_batch(self) -> list[tuple[str, Reply]]:
        """Replies with their user as key, after a nap if there were none."""
        self._io.working = True
        while self._io.disk_full and not self._io.stopping:
            time.sleep(_DISK_NAP_S)  # no step, no epoch, no write
        completions = self._seat.completions
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
