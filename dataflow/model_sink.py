"""Hands the effects of conversations over to the asyncio thread. Never waits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bytewax.outputs import DynamicSink, StatelessSinkPartition

from dataflow.account_links import AccountLinks
from dataflow.answering import Answering
from dataflow.effects import Answered, Effect, Erase, Link, PlaceEffect, Recall
from dataflow.erasing.erasing import Erasing
from dataflow.heard import Result
from dataflow.io_thread import IoThread
from dataflow.place_budgets import PlaceBudgets
from shared.log import logger


@dataclass(frozen=True, slots=True)
class Doers:
    """Who carries out effects: model calls and replies, erasures, links, budgets of places."""

    answering: Answering
    erasing: Erasing
    links: AccountLinks | None = None
    places: PlaceBudgets | None = None


class ModelSink(DynamicSink[tuple[str, Effect]]):
    """The sink for all effects."""

    def __init__(self, io: IoThread, doers: Doers) -> None:
        self._parts = io, doers

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "ModelSinkPartition":
        """The sink of the only worker."""
        del step_id, worker_index, worker_count
        return ModelSinkPartition(*self._parts)


class ModelSinkPartition(StatelessSinkPartition[tuple[str, Effect]]):
    """Results come back to the worker's inbox."""

    def __init__(self, io: IoThread, doers: Doers) -> None:
        self._io = io
        self._doers = doers

    def write_batch(self, items: list[tuple[str, Effect]]) -> None:
        """Hands effects over."""
        effects: list[tuple[str, Answered]] = []
        for user, item in items:
            if isinstance(item, Erase):
                self._io.soon(self._doers.erasing.begin, user, item, self._on_result)
            elif isinstance(item, Link | Recall):
                self._io.soon(self._about_links(item), item, self._on_result)
            elif isinstance(item, PlaceEffect):
                self._about_place(item)
            else:
                effects.append((user, item))
        if effects:
            self._io.soon(self._doers.answering.take, effects, self._on_result)

    def _about_links(self, item: Link | Recall) -> Callable[..., Any]:
        links = self._doers.links
        if links is None:
            raise AssertionError("no conversation links accounts unless that is enabled")
        return links.begin if isinstance(item, Link) else links.recall

    def _about_place(self, item: PlaceEffect) -> None:
        if self._doers.places is None:
            logger().error("no budget for this place", prompt=item.prompt_id)
        else:
            self._io.soon(self._doers.places.take, item, self._on_result)

    def _on_result(self, user: str, result: Result) -> None:
        self._io.inbox.results.append((user, result))
        self._io.wake()
