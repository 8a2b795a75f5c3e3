"""The turn with which the requests of each thread begin, once old turns had to be left out.

Pure. A thread's start must never move back: its endpoint would have to read everything again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from dataflow.question_queue import THREADS_LIMIT, thread_key
from shared.messages import Place


@dataclass(frozen=True, slots=True)
class ThreadStart:
    """The order of the first turn in the requests of a thread."""

    first: int


_NONE: Final[Mapping[str, ThreadStart]] = MappingProxyType({})


class ThreadStarts:
    """The starts of one user's threads; the one that moved last is last."""

    def __init__(self, starts: Mapping[str, ThreadStart] = _NONE) -> None:
        self._by_thread = dict(starts)

    @property
    def by_thread(self) -> dict[str, ThreadStart]:
        """All starts, for a snapshot."""
        return self._by_thread

    def first_in(self, place: Place) -> int:
        """The order at which the requests of this thread begin; 0 if they hold all of it."""
        if not self._by_thread:
            return 0
        start = self._by_thread.get(thread_key(place))
        return start.first if start is not None else 0

    def move(self, place: Place, first: int) -> None:
        """Lets later requests of this thread begin at the order `first`."""
        thread = thread_key(place)
        self._by_thread.pop(thread, None)
        self._by_thread[thread] = ThreadStart(first)
        while len(self._by_thread) > THREADS_LIMIT:
            del self._by_thread[next(iter(self._by_thread))]

    def keep(self, places: Iterable[Place]) -> None:
        """Drops the starts of all threads except those of the given places."""
        if self._by_thread:
            kept = {thread_key(place) for place in places}
            self._by_thread = {key: start for key, start in self._by_thread.items() if key in kept}
