"""A limit on the bytes that are in memory at once, granted in the order of the requests.

Use it in one event loop. It must never exceed its limit, nor let a small request overtake a large
one, which could then wait forever.
"""

import asyncio
from collections import deque


class ByteBudget:
    """The limit. A holder must not take more, because two holders could wait for each other."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._free_bytes = limit_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size_bytes: int) -> int:
        """Waits for its turn and for room; returns the size, reduced to the limit if larger."""
        size_bytes = min(size_bytes, self._limit_bytes)
        if not self._waiting and size_bytes <= self._free_bytes:
            self._free_bytes -= size_bytes
            return size_bytes
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size_bytes, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._serve()  # the next ones may fit
            else:
                self.give_back(size_bytes)  # its turn came in the same moment
            raise
        return size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Returns bytes to the budget, and serves the next request."""
        self._free_bytes += size_bytes
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            size_bytes, turn = self._waiting[0]
            if not turn.cancelled():
                if size_bytes > self._free_bytes:
                    return
                self._free_bytes -= size_bytes
                turn.set_result(None)
            self._waiting.popleft()
