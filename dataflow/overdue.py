"""Callbacks for answers that have not begun within a fixed time, with one timer for all of them.

A timer per answer would cost a tenth of an answer's processor time, and most answers begin in time.
Use it in one event loop.
"""

import asyncio
from collections.abc import Callable

Late = Callable[[], None]


class Overdue:
    """The callbacks, each called when its time is over. The oldest is first."""

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._due_s: dict[Late, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, late: Late) -> None:
        """Calls `late` unless `happened` is called in time."""
        loop = asyncio.get_running_loop()
        due_s = self._due_s[late] = loop.time() + self._after_s
        if self._timer is None:
            self._timer = loop.call_at(due_s, self._look)

    def happened(self, late: Late) -> None:
        """Drops a callback: the event has happened, or no longer matters."""
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
