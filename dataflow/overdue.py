"""What has not happened within a fixed time, with one timer for all that is waited for.

A timer for each answer would be a tenth of an answer's work, and nearly all answers begin in time.
For one event loop.
"""

import asyncio
from collections.abc import Callable

Late = Callable[[], None]


class Overdue:
    """Callbacks, each called once its time is over. The oldest one is first."""

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._due_s: dict[Late, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, late: Late) -> None:
        """Something should happen in time; `late` is called if it does not."""
        loop = asyncio.get_running_loop()
        due_s = self._due_s[late] = loop.time() + self._after_s
        if self._timer is None:
            self._timer = loop.call_at(due_s, self._look)

    def happened(self, late: Late) -> None:
        """It happened, or does not matter any more."""
        self._due_s.pop(late, None)

    def _look(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        while (late := next(iter(self._due_s), None)) is not None:
            if (due_s := self._due_s[late]) > loop.time():
                self._timer = loop.call_at(due_s, self._look)
                return
            del self._due_s[late]
            late()
