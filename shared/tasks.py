"""Ends what runs for ever, for certain.

It must never leave a task running that was told to end.
"""

import asyncio
from typing import Any, Final

_AGAIN_AFTER_S: Final = 0.5


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancels tasks and returns when all have ended; what they raise is not raised here.

    One cancel is not enough: before Python 3.12 `asyncio.wait_for`, on which the NATS client
    waits, loses a cancel that comes at the same moment as what it waits for (cpython issue 86296).
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN_AFTER_S)
    await asyncio.gather(*tasks, return_exceptions=True)
