"""Hands the effects of conversations over to the asyncio thread. Never waits."""

from bytewax.outputs import DynamicSink, StatelessSinkPartition

from dataflow.account_links import AccountLinks
from dataflow.answering import Answering
from dataflow.effects import (
    Answered,
    Effect,
    Erase,
    Evict,
    Evicted,
    Link,
    LinkDone,
    PlaceDecision,
    PlaceEffect,
    Recall,
    RecallAsked,
    Recalled,
    Summarized,
)
from dataflow.erasing.erasing import Erasing
from dataflow.eviction.store import EvictedStore
from dataflow.io_thread import IoThread
from shared.log import logger
from shared.messages import Journaled

ToDo = Effect | Evict | PlaceDecision
Result = Journaled | Evicted | Summarized | PlaceDecision | LinkDone | RecallAsked | Recalled


class ModelSink(DynamicSink[tuple[str, ToDo]]):
    """The sink for model calls, replies without a model, evictions, erasures and decisions."""

    def __init__(
        self,
        io: IoThread,
        answering: Answering,
        evicted: EvictedStore,
        erasing: Erasing,
        links: AccountLinks | None = None,
    ) -> None:
        self._parts = io, answering, evicted, erasing, links

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "ModelSinkPartition":
        """The sink of the worker in whose thread this is called."""
        del step_id, worker_index, worker_count
        return ModelSinkPartition(*self._parts)


class ModelSinkPartition(StatelessSinkPartition[tuple[str, ToDo]]):
    """The sink of one worker. Results come back to the inbox of the same worker."""

    def __init__(
        self,
        io: IoThread,
        answering: Answering,
        evicted: EvictedStore,
        erasing: Erasing,
        links: AccountLinks | None,
    ) -> None:
        self._links = links
        self._io = io
        self._answering = answering
        self._evicted = evicted
        self._erasing = erasing
        self._inbox = io.inbox()

    def write_batch(self, items: list[tuple[str, ToDo]]) -> None:
        """Hands effects over."""
        effects: list[tuple[str, Answered]] = []
        evictions: list[tuple[str, Evict]] = []
        for user, item in items:
            if isinstance(item, Evict):
                evictions.append((user, item))
            elif isinstance(item, Erase):
                self._io.soon(self._erasing.begin, user, item, self._on_result)
            elif isinstance(item, Recalled):
                self._on_result(item.user, item)
            elif isinstance(item, Link | Recall):
                self._about_links(item)
            elif isinstance(item, PlaceDecision):
                self._on_result(user, item)  # a dataflow has no loops, so it comes back as input
            elif isinstance(item, PlaceEffect):
                logger().error("no budget for this place", prompt=item.prompt_id)
            else:
                effects.append((user, item))
        if effects:
            self._io.soon(self._answering.take, effects, self._on_result)
        if evictions:
            self._io.soon(self._evicted.write, evictions, self._on_result)

    def _about_links(self, item: Link | Recall) -> None:
        if self._links is None:
            raise AssertionError("no conversation links accounts unless that is enabled")
        begin = self._links.begin if isinstance(item, Link) else self._links.recall
        self._io.soon(begin, item, self._on_result)

    def _on_result(self, user: str, result: Result) -> None:
        self._inbox.results.append((user, result))
        self._inbox.wake()
