"""What was asked of Slack, remembered for a while, in little room.

It must never grow past its limit, whatever people do.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

KEPT: Final = 10_000
"""People, channels or threads at a time: a large workspace's hour, 1.5 to 2.2 MB each."""

FRESH_S: Final = 3600.0
"""A name, a channel's kind or a guest's state is believed for this long at most."""

T = TypeVar("T")


class Remembered(Generic[T]):
    """The newest entries: for half of `seconds` and half of `keep` at least, for all of it at most.

    Two tables, the older of which goes as a whole: a time and a place in an order for each entry
    take more than the entries.
    """

    def __init__(
        self, now: Callable[[], float], *, keep: int = KEPT, seconds: float = FRESH_S
    ) -> None:
        self._now = now
        self._keep = keep // 2
        self._seconds = seconds / 2
        self._newer: dict[str, T] = {}
        self._older: dict[str, T] = {}
        self._next_at = now() + self._seconds

    def get(self, *key: str) -> T | None:
        """The entry, if it is there and fresh."""
        self._forget()
        joined = _joined(key)
        return self._newer.get(joined, self._older.get(joined))

    def put(self, value: T, *key: str) -> None:
        """Remembers an entry."""
        self._forget()
        self._older.pop(_joined(key), None)
        self._newer[_joined(key)] = value

    def drop(self, *key: str) -> None:
        """Forgets an entry."""
        self._newer.pop(_joined(key), None)
        self._older.pop(_joined(key), None)

    def _forget(self) -> None:
        now = self._now()
        if now >= self._next_at + self._seconds:
            self._newer, self._next_at = {}, now  # nothing was read or added in the meantime
        if now >= self._next_at or len(self._newer) >= self._keep:
            self._older, self._newer = self._newer, {}
            self._next_at = min(now, self._next_at) + self._seconds

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)


def _joined(key: tuple[str, ...]) -> str:
    """One string takes a third of the room of a tuple of them."""
    return " ".join(key)
