"""A cache of Slack's responses that takes little memory.

It must never exceed its limit, whatever people do.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

KEPT: Final = 10_000
"""Enough people, channels or threads for an hour of a large workspace; up to 2.2 MB."""

FRESH_S: Final = 3600.0
"""How long a name, or whether somebody is a guest, is believed at most."""

T = TypeVar("T")


class Remembered(Generic[T]):
    """Keeps at least `keep / 2` entries for `seconds / 2`, and at most `keep` for `seconds`.

    It has two tables and drops the older one as a whole, because an age and a position for each
    entry would take more memory than the entries.
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
        """The entry; None if there is none, or if it is too old."""
        self._expire()
        joined = _joined(key)
        return self._newer.get(joined, self._older.get(joined))

    def put(self, value: T, *key: str) -> None:
        """Adds or replaces an entry."""
        self._expire()
        self._older.pop(_joined(key), None)
        self._newer[_joined(key)] = value

    def drop(self, *key: str) -> None:
        """Removes an entry."""
        self._newer.pop(_joined(key), None)
        self._older.pop(_joined(key), None)

    def _expire(self) -> None:
        now = self._now()
        if now >= self._next_at + self._seconds:
            self._newer, self._next_at = {}, now  # the cache was not used for that long
        if now >= self._next_at or len(self._newer) >= self._keep:
            self._older, self._newer = self._newer, {}
            self._next_at = min(now, self._next_at) + self._seconds

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)


def _joined(key: tuple[str, ...]) -> str:
    """One string takes a third of the memory of a tuple of strings."""
    return " ".join(key)
