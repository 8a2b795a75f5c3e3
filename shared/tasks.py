"""Ends tasks reliably, and lets work that must not be cut off come to its end."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

_CANCEL_AGAIN_S: Final = 0.5


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancels tasks and returns when all have ended; their exceptions are not raised here.

    One cancel is not enough. Before Python 3.12 `asyncio.wait_for`, which nats-py uses, can lose a
    cancel that comes at the same moment as its result (cpython issue 86296).
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Does what must not be left undone: a cancellation comes too late to change anything."""
    working = asyncio.create_task(work)
    while True:
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            if working.cancelled():
                raise
