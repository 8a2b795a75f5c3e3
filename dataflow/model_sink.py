"""Effects leaving the flow for the asyncio thread. Never waits."""

from bytewax.outputs import DynamicSink, StatelessSinkPartition

from dataflow.answering import Answering
from dataflow.effects import Effect, Keep, Kept
from dataflow.eviction.store import EvictedStore
from dataflow.io_thread import IoThread
from shared.messages import Journaled


class ModelSink(DynamicSink[tuple[str, Effect | Keep]]):
    """Where conversations send what they want asked."""

    def __init__(self, io: IoThread, answering: Answering, at_rest: EvictedStore) -> None:
        self._io = io
        self._answering = answering
        self._at_rest = at_rest

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "ModelSinkPartition":
        """The part of the worker in whose thread this is called."""
        del step_id, worker_index, worker_count
        return ModelSinkPartition(self._io, self._answering, self._at_rest)


class ModelSinkPartition(StatelessSinkPartition[tuple[str, Effect | Keep]]):
    """One worker's way out; replies come back to the same worker's seat."""

    def __init__(self, io: IoThread, answering: Answering, at_rest: EvictedStore) -> None:
        self._io = io
        self._answering = answering
        self._at_rest = at_rest
        self._seat = io.seat()

    def write_batch(self, items: list[tuple[str, Effect | Keep]]) -> None:
        """Hands effects over."""
        effects: list[tuple[str, Effect]] = []
        keeps: list[tuple[str, Keep]] = []
        for user, item in items:
            if isinstance(item, Keep):
                keeps.append((user, item))
            else:
                effects.append((user, item))
        if effects:
            self._io.soon(self._answering.take, effects, self._done)
        if keeps:
            self._io.soon(self._at_rest.take, keeps, self._done)

    def _done(self, user: str, news: Journaled | Kept) -> None:
        self._seat.completions.append((user, news))
        self._seat.ring()
