"""One pause for all calls to an endpoint that reports to be overloaded.

Use it in one event loop. After a pause one call goes first, and each call that succeeds lets two
others follow, so that the endpoint never gets all of them at once. Otherwise no call waits.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import Final

SHORTEST_S: Final = 0.5
LONGEST_S: Final = 300.0
"""Some endpoints ask for hours, and are available again before that."""


class OverloadPause:
    """The pause of one endpoint. After `begin`, a call ends with `succeed`, `leave` or `fail`."""

    def __init__(self) -> None:
        self._ends_at = 0.0
        self._free: int | None = None
        """How many calls may begin; None: all."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_active(self) -> bool:
        """Whether calls wait, or begin one after the other."""
        return self._free is not None

    @property
    def left_s(self) -> float:
        """Seconds until a call may begin."""
        return max(0.0, self._ends_at - time.monotonic())

    async def begin(self, ends_at: float, on_wait: Callable[[], None]) -> None:
        """Waits until a call may begin; calls `on_wait` if it has to wait.

        Raises:
            TimeoutError: no call may begin before `ends_at` on the monotonic clock.
        """
        if self._free is None:
            return
        if self._free and not self._waiting and time.monotonic() >= self._ends_at:
            self._free -= 1
            return
        if self._ends_at > ends_at:
            raise TimeoutError
        on_wait()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._serve()
        try:
            async with asyncio.timeout(ends_at - time.monotonic()):
                await turn
        except (asyncio.CancelledError, TimeoutError):
            if turn.cancelled():
                with contextlib.suppress(ValueError):  # `_serve` may have dropped it already
                    self._waiting.remove(turn)
            else:
                self.leave()  # its turn came in the same moment
            raise

    def succeed(self) -> None:
        """Records that the endpoint took a call: two others may begin, or all if none waits."""
        if self._free is None or time.monotonic() < self._ends_at:
            return  # this call began before the pause
        self._free = self._free + 2 if self._waiting else None
        self._serve()

    def leave(self) -> None:
        """Records that a call ended for a reason that has nothing to do with the load."""
        if self._free is not None:
            self._free += 1
            self._serve()

    def fail(self, wait_s: float) -> None:
        """Records an overload: no call begins for this long, and then one does."""
        wait_s = min(max(wait_s, SHORTEST_S), LONGEST_S)
        self._ends_at = max(self._ends_at, time.monotonic() + wait_s)
        self._free = 1
        self._serve()

    def _serve(self) -> None:
        """Lets waiting calls begin, in the order in which they came."""
        left_s = self._ends_at - time.monotonic()
        if left_s > 0:
            if self._timer is None and self._waiting:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(left_s, self._over)
            return
        while self._waiting and (self._free is None or self._free > 0):
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                if self._free is not None:
                    self._free -= 1

    def _over(self) -> None:
        self._timer = None
        self._serve()
