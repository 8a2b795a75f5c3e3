"""Tells people that their question is stored although the dataflow is not working on it.

The dataflow reports on every question within ten seconds: with text, a reply, or the reason for a
wait. No report means that it is down. This notice must be gone before the answer begins.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from shared.messages import Again, AnyEvent, Ask
from shared.replies import Partial

NO_PROGRESS_S: Final = 15.0
"""Longer than the dataflow takes to report, even right after its start."""

NO_PROGRESS: Final = (
    "Your question is stored, but the part of this bot that answers does not respond at the "
    "moment. You get your answer as soon as it is back."
)
WATCHED: Final = 4096
"""Questions watched at a time; nobody is notified about further ones."""


class NoProgress:
    """The questions of this process on which the dataflow has not reported yet."""

    def __init__(self, show: Callable[[Partial], None]) -> None:
        """`show` is called in the event loop with the notice to show."""
        self._show = show
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def asked(self, event: AnyEvent) -> None:
        """Watches an event that was stored, if it is a question."""
        if isinstance(event, Ask | Again) and len(self._timers) < WATCHED:
            self.reported(event.id)
            loop = asyncio.get_running_loop()
            self._timers[event.id] = loop.call_later(NO_PROGRESS_S, self._notify, event)

    def reported(self, prompt_id: str) -> None:
        """Stops watching a question: the dataflow has reported on it."""
        if (timer := self._timers.pop(prompt_id, None)) is not None:
            timer.cancel()

    def close(self) -> None:
        """Stops watching all questions."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _notify(self, event: Ask | Again) -> None:
        del self._timers[event.id]
        self._show(
            Partial(
                prompt_id=event.id, user=event.user, place=event.place, address=event.address,
                text="", attempt=0, sequence=1, status=NO_PROGRESS, early=True,
            )
        )  # fmt: skip
