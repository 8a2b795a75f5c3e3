"""Hands the effects of conversations over to the asyncio thread. Never waits."""

from bytewax.outputs import DynamicSink, StatelessSinkPartition

from dataflow.answering import Answering
from dataflow.effects import Effect, Evict, Evicted, PlaceDecision
from dataflow.eviction.store import EvictedStore
from dataflow.io_thread import IoThread
from shared.messages import Journaled

ToDo = Effect | Evict | PlaceDecision


class ModelSink(DynamicSink[tuple[str, ToDo]]):
    """The sink for model calls, replies without a model, evictions, and decisions of places."""

    def __init__(self, io: IoThread, answering: Answering, evicted: EvictedStore) -> None:
        self._io = io
        self._answering = answering
        self._evicted = evicted

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "ModelSinkPartition":
        """The sink of the worker in whose thread this is called."""
        del step_id, worker_index, worker_count
        return ModelSinkPartition(self._io, self._answering, self._evicted)


class ModelSinkPartition(StatelessSinkPartition[tuple[str, ToDo]]):
    """The sink of one worker. Results come back to the inbox of the same worker."""

    def __init__(self, io: IoThread, answering: Answering, evicted: EvictedStore) -> None:
        self._io = io
        self._answering = answering
        self._evicted = evicted
        self._inbox = io.inbox()

    def write_batch(self, items: list[tuple[str, ToDo]]) -> None:
        """Hands effects over."""
        effects: list[tuple[str, Effect]] = []
        evictions: list[tuple[str, Evict]] = []
        for user, item in items:
            if isinstance(item, Evict):
                evictions.append((user, item))
            elif isinstance(item, PlaceDecision):
                self._on_result(user, item)  # a dataflow has no loops, so it comes back as input
            else:
                effects.append((user, item))
        if effects:
            self._io.soon(self._answering.take, effects, self._on_result)
        if evictions:
            self._io.soon(self._evicted.write, evictions, self._on_result)

    def _on_result(self, user: str, result: Journaled | Evicted | PlaceDecision) -> None:
        self._inbox.results.append((user, result))
        self._inbox.wake()
