"""Tells people that their question is stored although nobody works on it.

The dataflow reports on every question within ten seconds: its text, its reply, or why it waits. So
silence means that it is down. What is shown about it must be gone before the answer begins.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from shared.messages import Again, AnyEvent, Ask, Partial

SILENCE_S: Final = 15.0
"""Longer than the dataflow takes to report, also right after its own start."""

SILENT: Final = (
    "Your question is stored, but the part of this bot that answers does not respond at the "
    "moment. You get your answer as soon as it is back."
)
WATCHED: Final = 4096
"""Questions at a time; of more nobody says this."""


class Silence:
    """The questions of this process of which nothing was heard yet."""

    def __init__(self, show: Callable[[Partial], None]) -> None:
        """`show` is given what to show, in the event loop."""
        self._show = show
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def asked(self, event: AnyEvent) -> None:
        """An event was stored."""
        if isinstance(event, Ask | Again) and len(self._timers) < WATCHED:
            self.heard(event.id)
            loop = asyncio.get_running_loop()
            self._timers[event.id] = loop.call_later(SILENCE_S, self._end, event)

    def heard(self, prompt_id: str) -> None:
        """The dataflow said something about a question."""
        if (timer := self._timers.pop(prompt_id, None)) is not None:
            timer.cancel()

    def close(self) -> None:
        """Says nothing more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _end(self, event: Ask | Again) -> None:
        del self._timers[event.id]
        self._show(
            Partial(
                prompt_id=event.id, user=event.user, place=event.place, address=event.address,
                text="", attempt=0, sequence=1, status=SILENT, early=True,
            )
        )  # fmt: skip
