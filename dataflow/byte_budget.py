"""Room for so many bytes at once, given out in the order of asking.

Lives in one event loop. It must never give out more than there is, nor let anybody overtake: a
large wish would wait forever behind small ones.
"""

import asyncio
from collections import deque


class ByteRoom:
    """The room. Nobody may ask for more while holding some: two could wait for each other."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._free_bytes = limit_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size_bytes: int) -> int:
        """Waits for its turn and for room; returns how much it got: never more than there is."""
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
                self._serve()  # those after it may fit
            else:
                self.give_back(size_bytes)  # its turn came in the same moment
            raise
        return size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Makes room for those who wait."""
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
