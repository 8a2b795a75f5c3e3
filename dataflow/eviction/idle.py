"""Which conversations nobody touched for a while.

Counted in seconds in which the worker took steps, not by the clock: each holds the end of an
epoch, so what is put to rest is in the recovery store already, whatever stopped the process for how
long.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from shared import metrics

TICK_S: Final = 1.0
A_TICK: Final = 1000
"""At most so many are put to rest in a second, so that nobody waits for it."""


class Idle:
    """The conversations in memory, the longest untouched first. In the worker's thread."""

    def __init__(self, after_s: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        """`after_s`: seconds without an event until a conversation rests; None: it never does."""
        self._after_s = after_s
        self._clock = clock
        self._tick = 0
        self._next = clock() + TICK_S
        self._touched: OrderedDict[str, int] = OrderedDict()
        metrics.in_memory.set_function(lambda: len(self._touched))

    def touch(self, user: str) -> None:
        """Something happened in this conversation."""
        self._touched[user] = self._tick
        self._touched.move_to_end(user)

    def gone(self, user: str) -> None:
        """This conversation left memory."""
        self._touched.pop(user, None)

    def due(self) -> list[str]:
        """Whose conversations should rest now; each is told again after as long, if it stayed."""
        now = self._clock()
        if self._after_s is None or now < self._next:
            return []
        self._next = now + TICK_S
        self._tick += 1
        found: list[str] = []
        for user, tick in self._touched.items():
            if (self._tick - tick) * TICK_S <= self._after_s or len(found) == A_TICK:
                break
            found.append(user)
        for user in found:
            self.touch(user)
        return found
