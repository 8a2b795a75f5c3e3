"""Bounded memory for recent items: a set, a map, and a map whose entries also expire.

Pure: the clock is passed in. None of them ever grows past its limit or forgets its newest items.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from typing_extensions import override

FRESH_KEPT: Final = 10_000
"""Entries of a `FreshMap` by default, in 1.5 to 2.2 MB: an hour of a large Slack workspace."""

FRESH_S: Final = 3600.0
"""An entry of a `FreshMap` is trusted for at most this long by default."""

K = TypeVar("K")
V = TypeVar("V")


class RecentSet(Generic[K]):
    """Remembers at least the newest `keep` items, and at most twice as many.

    Two tables take turns: once the newer one is full, the older one is dropped as a whole. That
    takes about 30 bytes per item plus the item; an order of use would take more than the items.
    Dicts, because a set takes up to four times as much memory.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._newer: dict[K, None] = {}
        self._older: dict[K, None] = {}

    def add(self, item: K) -> None:
        """Adds an item as the newest one."""
        self._newer[item] = None
        if len(self._newer) >= self._keep:
            self._older, self._newer = self._newer, {}

    def __contains__(self, item: K) -> bool:
        return item in self._newer or item in self._older

    def __len__(self) -> int:
        return len(self._newer | self._older)


class RecentMap(OrderedDict[K, V]):
    """A dict of the `keep` entries that were set last; setting a key makes it the newest.

    `dropped` is called with each value that had to make room.
    """

    def __init__(self, keep: int, *, dropped: Callable[[V], None] | None = None) -> None:
        super().__init__()
        self._keep = keep
        self._dropped = dropped

    @override
    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > self._keep:
            _, oldest = self.popitem(last=False)
            if self._dropped is not None:
                self._dropped(oldest)


class FreshMap(Generic[V]):
    """Remembers entries for at most `seconds`, and at most `keep` of them.

    Each entry stays for at least half of that time, unless more than half of `keep` newer ones
    come. Two tables take turns, as in `RecentSet`: a time per entry would take more memory than the
    entries. A key is one or more strings.
    """

    def __init__(
        self, now: Callable[[], float], *, keep: int = FRESH_KEPT, seconds: float = FRESH_S
    ) -> None:
        self._now = now
        self._keep = keep // 2
        self._seconds = seconds / 2
        self._newer: dict[str, V] = {}
        self._older: dict[str, V] = {}
        self._next_at = now() + self._seconds

    def get(self, *key: str) -> V | None:
        """The entry, unless it is missing or too old."""
        self._expire()
        joined = _joined(key)
        return self._newer.get(joined, self._older.get(joined))

    def put(self, value: V, *key: str) -> None:
        """Adds or replaces an entry."""
        self._expire()
        self._older.pop(_joined(key), None)
        self._newer[_joined(key)] = value

    def drop(self, *key: str) -> None:
        """Removes an entry, if it is there."""
        self._newer.pop(_joined(key), None)
        self._older.pop(_joined(key), None)

    def _expire(self) -> None:
        now = self._now()
        if now >= self._next_at + self._seconds:
            self._newer, self._next_at = {}, now  # nothing was read or added in the meantime
        if now >= self._next_at or len(self._newer) >= self._keep:
            self._older, self._newer = self._newer, {}
            self._next_at = min(now, self._next_at) + self._seconds

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)


def _joined(key: tuple[str, ...]) -> str:
    """One string takes a third of the memory of a tuple of strings."""
    return " ".join(key)
