"""How long operations in progress have been waiting. Pure."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Waiting:
    """The operations of one kind that are in progress."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[object, float] = {}
        self._done_at = float("-inf")

    @contextmanager
    def one(self) -> Iterator[None]:
        """One more operation, which is done at the end of the context unless that raises."""
        key = object()
        self._since[key] = self._clock()
        try:
            yield
            self._done_at = self._clock()
        finally:
            del self._since[key]

    @property
    def stuck_s(self) -> float:
        """For how long operations have been in progress, and none was done; 0 if there are none."""
        if not self._since:
            return 0.0
        return self._clock() - max(self._done_at, next(iter(self._since.values())))
