"""Where the requests of each thread begin, once old turns had to be left out, and their summaries.

Pure. A thread's start must never move back: its endpoint would have to read everything again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from dataflow.question_queue import THREADS_LIMIT, thread_key
from dataflow.summary import COVERED_LIMIT, Summary
from shared.messages import Place

SUMMARIZED_LIMIT: Final = 20
"""Threads of one user that keep their summaries: those whose start moved last."""

SUMMARIES_LIMIT: Final = 2
"""Summaries of one thread. If a turn in the newest one is deleted, the one before it is left."""


@dataclass(frozen=True, slots=True)
class ThreadStart:
    """The order of the first turn in the requests of a thread, and summaries of those before it.

    Each summary contains the one before it; only the last one is sent.
    """

    first: int
    summaries: tuple[Summary, ...] = ()


_NONE: Final[Mapping[str, ThreadStart]] = MappingProxyType({})


class ThreadStarts:
    """The starts of one user's threads; the one that moved last is last."""

    def __init__(self, starts: Mapping[str, ThreadStart] = _NONE) -> None:
        self.by_thread = dict(starts)

    def first_in(self, place: Place) -> int:
        """The order at which the requests of this thread begin; 0 if they hold all of it."""
        if not self.by_thread:
            return 0
        start = self.by_thread.get(thread_key(place))
        return start.first if start is not None else 0

    def summary_in(self, place: Place) -> Summary | None:
        """The newest summary of this thread. Whether it may be used is another question."""
        start = self.by_thread.get(thread_key(place)) if self.by_thread else None
        return start.summaries[-1] if start is not None and start.summaries else None

    def move(self, place: Place, first: int) -> None:
        """Lets later requests of this thread begin at the order `first`."""
        start = self.by_thread.get(thread_key(place), ThreadStart(0))
        self._set(place, replace(start, first=first))

    def add(self, summary: Summary, before: Summary | None) -> None:
        """Replaces the turns that a summary covers; `before` is the one that it continues."""
        start = self.by_thread.get(thread_key(summary.place), ThreadStart(0))
        first = max(start.first, summary.until + 1)
        summaries = (*start.summaries, summary) if before is not None else (summary,)
        while len(summaries) > SUMMARIES_LIMIT:
            dropped, oldest, *newer = summaries
            summaries = (_merged(dropped, oldest), *newer)
        self._set(summary.place, ThreadStart(first, summaries))
        summarized = [thread for thread, start in self.by_thread.items() if start.summaries]
        for thread in summarized[:-SUMMARIZED_LIMIT]:
            self.by_thread[thread] = replace(self.by_thread[thread], summaries=())

    def withdraw(self, chosen: Callable[[Summary], bool]) -> list[Place]:
        """Drops summaries, and those that contain them; returns their places."""
        places: list[Place] = []
        for thread, start in self.by_thread.items():
            for at, summary in enumerate(start.summaries):
                if chosen(summary):
                    self.by_thread[thread] = replace(start, summaries=start.summaries[:at])
                    places.append(summary.place)
                    break
        return places

    def date_summaries(self, day: int) -> None:
        """Gives a day to summaries that have none."""
        for thread, start in self.by_thread.items():
            if any(summary.day is None for summary in start.summaries):
                dated = (
                    replace(summary, day=day) if summary.day is None else summary
                    for summary in start.summaries
                )  # fmt: skip
                self.by_thread[thread] = replace(start, summaries=tuple(dated))

    def keep(self, places: Iterable[Place]) -> None:
        """Drops the starts of threads without a summary that are not those of the given places."""
        if self.by_thread:
            kept = {thread_key(place) for place in places}
            self.by_thread = {
                key: start for key, start in self.by_thread.items()
                if key in kept or start.summaries
            }  # fmt: skip

    def _set(self, place: Place, start: ThreadStart) -> None:
        thread = thread_key(place)
        self.by_thread.pop(thread, None)
        self.by_thread[thread] = start
        while len(self.by_thread) > THREADS_LIMIT:
            del self.by_thread[next(iter(self.by_thread))]


def _merged(before: Summary, summary: Summary) -> Summary:
    """A summary that also knows the turns that it took from the one before it."""
    covers = before.covers + summary.covers
    has_older = before.has_older or summary.has_older or len(covers) > COVERED_LIMIT
    return replace(summary, covers=covers[-COVERED_LIMIT:], has_older=has_older)
