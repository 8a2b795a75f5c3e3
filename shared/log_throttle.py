"""Limits log lines that outsiders can cause: the first is written at once, then few.

Pure: the clock is passed in. To keep memory bounded, the caller must choose the kind of event from
a fixed set, never from input.
"""

from typing import Final

EVERY_S: Final = 10.0


class LogThrottle:
    """Decides for each kind of event whether to log it now."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._logged_at: dict[str, float] = {}
        self._since: dict[str, int] = {}

    def times(self, kind: str, now: float) -> int:
        """How often the event has happened since it was last logged; 0 means: do not log it now."""
        count = self._since.get(kind, 0) + 1
        logged_at = self._logged_at.get(kind)
        if logged_at is not None and now - logged_at < self._every_s:
            self._since[kind] = count
            return 0
        self._logged_at[kind] = now
        self._since[kind] = 0
        return count
