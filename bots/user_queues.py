"""One queue per user: events of a person are stored in the order in which they arrived.

Enter the queue before the first `await` that handles an event, or a later event may overtake it.
"""

import asyncio
import weakref


class UserQueues:
    """Queues by user; a queue exists only while it is in use."""

    def __init__(self) -> None:
        self._queues: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    def of(self, user: str) -> asyncio.Lock:
        """The queue of a user; `async with` waits for everyone who entered before."""
        queue = self._queues.get(user)
        if queue is None:
            # asyncio's lock wakes its waiters in the order in which they came.
            queue = self._queues[user] = asyncio.Lock()
        return queue
