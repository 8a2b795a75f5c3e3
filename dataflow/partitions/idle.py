"""Which conversations have been idle for a while.

Time is counted in seconds in which the worker took steps, not by the clock. An epoch ends in each
of them, so an idle conversation is in the recovery store before it is evicted, even if the process
was suspended.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from shared import metrics

TICK_S: Final = 1.0
DUE_PER_TICK: Final = 1000
"""At most this many conversations are evicted per second, so that evictions delay nobody."""


class IdleConversations:
    """The conversations in memory, the longest idle first. Call from the worker's thread."""

    def __init__(self, after_s: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        """`after_s`: seconds until an idle conversation is evicted; None: it never is."""
        self._after_s = after_s
        self._clock = clock
        self._tick = 0
        self._next = clock() + TICK_S
        self._touched: OrderedDict[str, int] = OrderedDict()
        metrics.in_memory.set_function(lambda: len(self._touched))

    def touch(self, user: str) -> None:
        """Records that a conversation is in use now."""
        self._touched[user] = self._tick
        self._touched.move_to_end(user)

    def remove(self, user: str) -> None:
        """Records that a conversation has left memory."""
        self._touched.pop(user, None)

    def due(self) -> list[str]:
        """The users whose conversations have become idle.

        One that stays in memory becomes due again after the same time.
        """
        now = self._clock()
        if self._after_s is None or now < self._next:
            return []
        self._next = now + TICK_S
        self._tick += 1
        found: list[str] = []
        for user, tick in self._touched.items():
            if (self._tick - tick) * TICK_S <= self._after_s or len(found) == DUE_PER_TICK:
                break
            found.append(user)
        for user in found:
            self.touch(user)
        return found
