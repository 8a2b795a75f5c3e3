"""Notices that this process did not run for a while: frozen, swapped out, or on a machine asleep.

What people did meanwhile waits in a socket's buffer, and nothing in it says for how long.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from shared.pulse import now_s

TICK_S: Final = 0.25

FROZEN_S: Final = 2.5
"""After a longer pause, something that was delivered during it may have missed Slack's 3 s."""

BACKLOG_S: Final = 2.0
"""The deliveries of a pause are read within this long after it."""


class Freezes:
    """The pauses of one process."""

    def __init__(self, now: Callable[[], float] = now_s) -> None:
        self._now = now
        self._ran_at = now()
        self._thawed_at = float("-inf")

    async def watch(self) -> None:
        """Looks at the clock until it is cancelled."""
        self._ran_at = self._now()
        while True:
            self._look()
            await asyncio.sleep(TICK_S)

    def is_just_over(self) -> bool:
        """Whether what is read now may have waited during a pause."""
        return self._look() - self._thawed_at < BACKLOG_S

    def _look(self) -> float:
        now = self._now()
        if now - self._ran_at > FROZEN_S:
            self._thawed_at = now
        self._ran_at = now
        return now
