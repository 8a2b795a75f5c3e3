"""Takes growing answers from NATS, and shows the newest text of each, many at a time.

A partial has all of its answer's text so far, so those in between need not even be parsed. However
many answers grow, this must leave the event loop to everything else.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from nats.aio.msg import Msg
from pydantic import ValidationError

from shared.replies import Partial
from shared.tasks import end

EVERY_S: Final = 0.05
"""The dataflow sends the text of an answer at most this often."""

LOOP_SHARE: Final = 0.2
"""At most this part of the event loop's time."""


class NewestPartials:
    """The answers that have grown since they were shown. The first one is shown at once."""

    def __init__(self, show: Callable[[Partial], None]) -> None:
        self._show = show
        self._waiting: dict[str, bytes] = {}
        self._task: asyncio.Task[None] | None = None

    async def take(self, message: Msg) -> None:
        """Takes a partial; the newest one on a subject counts."""
        self._waiting[message.subject] = message.data
        if self._task is None:
            self._task = asyncio.create_task(self._show_all())

    async def close(self) -> None:
        """Shows nothing more."""
        if self._task is not None:
            await end(self._task)

    async def _show_all(self) -> None:
        now = asyncio.get_running_loop().time
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, {}
                started_s = now()
                for data in waiting.values():
                    try:
                        partial = Partial.model_validate_json(data)
                    except ValidationError:
                        continue  # partials are lossy by design
                    self._show(partial)
                took_s = now() - started_s
                await asyncio.sleep(max(EVERY_S, took_s / LOOP_SHARE - took_s))
        finally:
            self._task = None
