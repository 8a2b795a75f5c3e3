"""Results that come back into the dataflow: replies, summaries, and news of idle conversations.

An idle worker sleeps here. Nothing is recovered after a crash: pending questions find their replies
in the journal.
"""

import time
from datetime import datetime
from typing import Final

from bytewax.inputs import DynamicSource, StatelessSourcePartition

from dataflow.answering import Answering
from dataflow.conversation_step import BecameIdle, Heard
from dataflow.eviction.idle import IdleConversations
from dataflow.io_thread import IoThread
from dataflow.prompts_source import BATCH, NOW

_DISK_FULL_SLEEP_S: Final = 0.1


class CompletionsSource(DynamicSource[tuple[str, Heard]]):
    """The results of the effects of each worker."""

    def __init__(self, io: IoThread, answering: Answering, idle: IdleConversations) -> None:
        self._io = io
        self._answering = answering
        self._idle = idle

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "CompletionsPartition":
        """The source of the worker in whose thread this is called."""
        del step_id, worker_index, worker_count
        return CompletionsPartition(self._io, self._answering, self._idle)


class CompletionsPartition(StatelessSourcePartition[tuple[str, Heard]]):
    """Drains the inbox of one worker."""

    def __init__(self, io: IoThread, answering: Answering, idle: IdleConversations) -> None:
        self._io = io
        self._answering = answering
        self._idle = idle
        self._inbox = io.inbox()

    def next_batch(self) -> list[tuple[str, Heard]]:
        """The results so far with their users as keys; sleeps first if there are none."""
        self._io.working = True
        while self._io.disk_full and not self._io.stopping:
            time.sleep(_DISK_FULL_SLEEP_S)  # without steps no epoch ends, so nothing is written
        results = self._inbox.results
        results.extend((user, BecameIdle()) for user in self._idle.due())
        if not results:
            self._inbox.sleep_if_idle()
        taken = [results.popleft() for _ in range(min(len(results), BATCH))]
        if taken:
            self._inbox.stay_awake()
        elif self._io.stopping and self._answering.idle and not results:
            raise StopIteration
        return taken

    def next_awake(self) -> datetime:
        """At the next step."""
        return NOW
