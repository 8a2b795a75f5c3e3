"""What is being handled just now: how much, and whose question each message is.

A question is known to `Store` only once it is stored. Until then this says who asks with it, so
that an edit or a deletion that comes meanwhile waits in the same person's queue.
"""

import asyncio
import contextlib
from collections.abc import Iterator


class InProgress:
    """Counts what is handled, and knows the author of each message in it."""

    def __init__(self) -> None:
        self._users: dict[int, list[str]] = {}
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def author_of(self, message: int) -> str | None:
        """Who wrote a message that is in hand."""
        users = self._users.get(message)
        return users[0] if users else None

    @contextlib.contextmanager
    def handling(self, message: int = 0, user: str = "") -> Iterator[None]:
        """Something is handled within this: a message of this user, or anything else."""
        self._count += 1
        self._idle.clear()
        if message:
            self._users.setdefault(message, []).append(user)  # a message and its edits
        try:
            yield
        finally:
            if message:
                self._users[message].pop()
                if not self._users[message]:
                    del self._users[message]
            self._count -= 1
            if not self._count:
                self._idle.set()

    async def wait_until_idle(self) -> None:
        """Returns when nothing is in hand any more."""
        await self._idle.wait()
