"""A user's requests to be forgotten, until the stores are erased.

Pure. A request is carried out once no question from before it is being withdrawn.
"""

from collections.abc import Iterable
from datetime import datetime

from dataflow.effects import Erase
from shared.messages import Ask, Forget
from shared.replies import Reply


class Forgetting:
    """The requests that are not carried out yet, the oldest first, and the time of the newest."""

    def __init__(self, requests: Iterable[Forget] = (), last_at: datetime | None = None) -> None:
        self.requests = tuple(requests)
        self.last_at = last_at
        self._has_begun = False

    def add(self, request: Forget) -> None:
        """Adds a request, unless it is there already."""
        self.last_at = request.said_at
        if all(known.id != request.id for known in self.requests):
            self.requests += (request,)

    def covers(self, ask: Ask) -> bool:
        """Whether a question was asked before its user wanted to be forgotten."""
        return self.last_at is not None and ask.said_at <= self.last_at

    def begin(self, linked: tuple[str, ...] = ()) -> Erase | None:
        """Begins the oldest request, unless one is being carried out."""
        if not self.requests or self._has_begun:
            return None
        self._has_begun = True
        return Erase(self.requests[0], linked)

    def end(self, reply: Reply) -> bool:
        """Ends a request, if this is the reply to it; returns whether it is."""
        left = tuple(request for request in self.requests if request.id != reply.prompt_id)
        if len(left) == len(self.requests):
            return False
        self.requests, self._has_begun = left, False
        return True
