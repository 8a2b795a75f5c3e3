"""Questions that are stored and not answered yet, counted so that there are never too many.

Pure: the clock is passed in. It is a bound and not a record: a new process begins at zero, and then
more questions than that may be under way for a while.
"""

from collections import OrderedDict
from typing import Final

FORGOTTEN_AFTER_S: Final = 900.0
"""Another gateway may deliver an answer, of which this one does not hear."""


class Unanswered:
    """At most `limit` questions; None: any number, and none is counted."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._since: OrderedDict[str, float] = OrderedDict()

    def __contains__(self, prompt_id: str) -> bool:
        return prompt_id in self._since

    def add(self, prompt_id: str, now: float) -> bool:
        """Counts a question; False if there are too many already."""
        if self._limit is None:
            return True
        while self._since and now - next(iter(self._since.values())) > FORGOTTEN_AFTER_S:
            self._since.popitem(last=False)
        if len(self._since) >= self._limit:
            return False
        self._since[prompt_id] = now
        return True

    def remove(self, prompt_id: str) -> None:
        """Stops counting a question: it is answered, or was not stored after all."""
        self._since.pop(prompt_id, None)
