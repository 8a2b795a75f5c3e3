"""Where the requests of each thread of one user begin, once they had to leave out old turns.

Pure. A thread's beginning must never move back: its endpoint would have to read everything again.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from dataflow.question_queue import THREADS_LIMIT, thread_key
from dataflow.snapshot import Cut
from shared.messages import Place

_NONE: Final[Mapping[str, Cut]] = MappingProxyType({})


class Cuts:
    """The cut threads; the one that was cut last is last."""

    def __init__(self, saved: Mapping[str, Cut] = _NONE) -> None:
        self._by_thread = dict(saved)

    @property
    def saved(self) -> dict[str, Cut]:
        """All of them, for a snapshot."""
        return self._by_thread

    def first_in(self, place: Place) -> int:
        """The order at which the requests of this thread begin; 0 if they hold all of it."""
        if not self._by_thread:
            return 0
        cut = self._by_thread.get(thread_key(place))
        return cut.first if cut is not None else 0

    def move(self, place: Place, first: int) -> None:
        """Later requests of this thread begin at that order."""
        thread = thread_key(place)
        self._by_thread.pop(thread, None)
        self._by_thread[thread] = Cut(first)
        while len(self._by_thread) > THREADS_LIMIT:
            del self._by_thread[next(iter(self._by_thread))]

    def keep(self, places: Iterable[Place]) -> None:
        """Forgets the threads of which nothing is remembered any more."""
        if self._by_thread:
            left = {thread_key(place) for place in places}
            self._by_thread = {key: cut for key, cut in self._by_thread.items() if key in left}
