"""The messages that are being handled, and their authors.

`Store` knows a question only once its event is stored. Until then this says who is asking, so that
an edit or a deletion that arrives meanwhile waits in the same person's queue.
"""

import asyncio
import contextlib
from collections.abc import Iterator


class InProgress:
    """Counts what is being handled, and knows the author of each message."""

    def __init__(self) -> None:
        self._users: dict[int, list[str]] = {}
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def author_of(self, message: int) -> str | None:
        """The author of a message that is being handled; None if it is not."""
        users = self._users.get(message)
        return users[0] if users else None

    @contextlib.contextmanager
    def handling(self, message: int = 0, user: str = "") -> Iterator[None]:
        """Within this context a message of this user, or another event, is being handled."""
        self._count += 1
        self._idle.clear()
        if message:
            self._users.setdefault(message, []).append(user)  # the message and its edits
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
        """Return when nothing is being handled any more."""
        await self._idle.wait()
