"""The inbox in which the worker sleeps until the asyncio thread has something for it."""

import threading
from collections import deque
from typing import Final

from dataflow.heard import Result

IDLE_STEPS: Final = 1
"""Idle dataflow steps before a worker sleeps. With none, an item could be delayed by a whole sleep
between source and sink. With more, idle workers would take processor time from the asyncio thread.
"""

SLEEP_S: Final = 0.050
"""Longest sleep of an idle worker. Anything new wakes it sooner."""


class WorkerInbox:
    """Results for the worker, each with its user as key, and the means to wake the worker."""

    def __init__(self) -> None:
        self.results: deque[tuple[str, Result]] = deque()
        self._awake = threading.Event()
        self._idle_steps = 0

    def wake(self) -> None:
        """Wakes the worker. Call from any thread."""
        self._idle_steps = 0
        self._awake.set()

    def stay_awake(self) -> None:
        """Lets the next steps not sleep, because data is moving. Call from the worker's thread."""
        self._idle_steps = 0

    def sleep_if_idle(self) -> None:
        """Sleeps until the worker is woken, if nothing has moved for some steps."""
        self._idle_steps += 1
        if self._idle_steps > IDLE_STEPS:
            self._awake.wait(SLEEP_S)
        self._awake.clear()
