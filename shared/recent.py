"""Ids that were seen lately, in little room: about 30 bytes each beside the id itself.

It must never forget one of the newest `keep` ids.
"""

from typing import Generic, TypeVar

T = TypeVar("T")


class Seen(Generic[T]):
    """The newest `keep` ids at least, twice as many at most.

    When the newer table is full, the older one goes as a whole: an order of use for each id takes
    more than the ids. Dicts, since a set takes up to four times their room.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._newer: dict[T, None] = {}
        self._older: dict[T, None] = {}

    def add(self, item: T) -> None:
        """Remembers an id, as the newest one."""
        self._newer[item] = None
        if len(self._newer) >= self._keep:
            self._older, self._newer = self._newer, {}

    def __contains__(self, item: T) -> bool:
        return item in self._newer or item in self._older

    def __len__(self) -> int:
        return len(self._newer | self._older)
