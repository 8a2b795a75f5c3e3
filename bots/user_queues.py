"""One queue per user: what a person does is stored in the order in which it came.

Enter the queue before the first `await` that an event needs, or a younger event may pass.
"""

import asyncio
import weakref


class UserQueues:
    """Queues by user; one exists only while somebody is in it."""

    def __init__(self) -> None:
        self._queues: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    def of(self, user: str) -> asyncio.Lock:
        """The queue of a user: `async with` it waits for everything that came before."""
        queue = self._queues.get(user)
        if queue is None:
            # asyncio's lock wakes its waiters first come, first served.
            queue = self._queues[user] = asyncio.Lock()
        return queue
