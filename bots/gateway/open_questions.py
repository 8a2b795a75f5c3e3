"""Counts questions that are stored but not answered yet, to keep their number limited.

Pure: the clock is passed in. The count is a bound, not a record: a new process starts at zero, so
for a while more questions can be open than the limit allows.
"""

from collections import OrderedDict
from typing import Final

FORGOTTEN_AFTER_S: Final = 900.0
"""Another gateway that delivers an answer tells this one, but news can be lost."""


class OpenQuestions:
    """At most `limit` questions; with None, nothing is counted and nothing refused."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._since: OrderedDict[str, float] = OrderedDict()

    def __contains__(self, prompt_id: str) -> bool:
        return prompt_id in self._since

    def add(self, prompt_id: str, now: float) -> bool:
        """Counts a question; returns False if there are too many already."""
        if self._limit is None:
            return True
        while self._since and now - next(iter(self._since.values())) > FORGOTTEN_AFTER_S:
            self._since.popitem(last=False)
        if len(self._since) >= self._limit:
            return False
        self._since[prompt_id] = now
        return True

    def remove(self, prompt_id: str) -> None:
        """Stops counting a question that is answered, or that could not be stored."""
        self._since.pop(prompt_id, None)
