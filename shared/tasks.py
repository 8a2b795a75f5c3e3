"""Cancels tasks reliably: none may keep running after it was told to end."""

import asyncio
from typing import Any, Final

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
