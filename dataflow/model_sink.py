"""Effects leaving the flow for the asyncio thread. Never waits."""

from bytewax.outputs import DynamicSink, StatelessSinkPartition

from dataflow.answering import Answering
from dataflow.effects import Effect
from dataflow.io_thread import IoThread
from shared.messages import Reply


class ModelSink(DynamicSink[tuple[str, Effect]]):
    """Where conversations send what they want asked."""

    def __init__(self, io: IoThread, answering: Answering) -> None:
        self._io = io
        self._answering = answering

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "ModelSinkPartition":
        """The part of the worker in whose thread this is called."""
        del step_id, worker_index, worker_count
        return ModelSinkPartition(self._io, self._answering)


class ModelSinkPartition(StatelessSinkPartition[tuple[str, Effect]]):
    """One worker's way out; replies come back to the same worker's seat."""

    def __init__(self, io: IoThread, answering: Answering) -> None:
        self._io = io
        self._answering = answering
        self._seat = io.seat()

    def write_batch(self, items: list[tuple[str, Effect]]) -> None:
        """Hands effects over."""
        self._io.soon(self._answering.take, items, self._done)

    def _done(self, user: str, reply: Reply) -> None:
        self._seat.completions.append((user, reply))
        self._seat.ring()
