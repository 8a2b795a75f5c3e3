"""Shows a growing answer to people, and before that the reason why there is no text yet.

It begins when its question has to wait or is asked, whichever comes first.

Best effort: a partial can be lost. It must never send anything after the answer has ended.
"""

import asyncio
from datetime import UTC, datetime
from typing import Final

from dataflow.model.status import Queued, Waiting, sentence
from dataflow.overdue import Overdue
from shared.bus import Bus
from shared.messages import Ask
from shared.replies import Partial

PARTIAL_EVERY_S: Final = 0.05
"""The text is sent at most this often, since nobody could see more."""

STATUS_AFTER_S: Final = 10.0
"""After this time without text, people are told the reason."""

STATUS_EVERY_S: Final = 3.0
"""The reason changes at most this often."""


class Draft:
    """The text of one answer so far."""

    def __init__(self, bus: Bus, ask: Ask, slow: Overdue, *, give_up_after_s: float) -> None:
        """`slow` waits for `STATUS_AFTER_S`."""
        self._bus = bus
        self._ask = ask
        self._slow = slow
        self._begun = False
        self._after: str | None = None
        self._early = False
        self._give_up_after_s = give_up_after_s
        self._pieces: list[str] = []
        self.first_token_at: datetime | None = None
        """When the text began that is shown now."""
        self._attempt = 1
        self._sequence = 0
        self._timer: asyncio.Handle | None = None
        self._next_s = 0.0
        self._waiting: Waiting = "slow"
        self._told = ""
        self._status_timer: asyncio.TimerHandle | None = None
        self._status_due = False
        self._next_status_s = 0.0
        self._sends: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def user(self) -> str:
        """The user whose question is answered."""
        return self._ask.user

    @property
    def said_at(self) -> datetime:
        """When the question was asked."""
        return self._ask.said_at

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._pieces)

    def queue(self, reason: Queued, after: str | None) -> None:
        """Records that the question has to wait."""
        self._begin()
        self._after, self._early = after, reason == "thread"
        self.wait(reason)

    def ask(self, after: str | None) -> None:
        """Records that the model is asked; the reply follows that of the question `after`."""
        self._after, self._early = after, False
        if self._begin():
            # The answer may begin in a moment.
            self._next_status_s = asyncio.get_running_loop().time() + STATUS_EVERY_S
            self.wait("slow")

    def _begin(self) -> bool:
        """Starts the time until a status is due; returns whether it had already started."""
        begun, self._begun = self._begun, True
        if not begun:
            self._slow.expect(self._due)
        return begun

    def wait(self, waiting: Waiting) -> None:
        """Sets the reason why there is no text yet."""
        if waiting != self._waiting:
            self._waiting = waiting
            self._tell_soon()

    def add(self, piece: str) -> None:
        """Adds a piece of the answer."""
        if self.first_token_at is None:
            self.first_token_at = datetime.now(UTC)
        self._pieces.append(piece)
        self._send_soon()

    def start_over(self) -> None:
        """Drops the text so far, which turned out not to be part of the answer."""
        self._pieces.clear()
        self.first_token_at = None
        self._attempt += 1
        self._send_soon()

    def close(self) -> None:
        """Ends the draft: nothing more is sent."""
        if self._closed:
            return
        self._closed = True
        self._slow.happened(self._due)
        for timer in (self._timer, self._status_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._status_timer = None

    def _due(self) -> None:
        self._status_due = True
        self._tell_soon()

    def _tell_soon(self) -> None:
        if self._status_due and not self._closed and self._status_timer is None:
            loop = asyncio.get_running_loop()
            self._status_timer = loop.call_at(self._next_status_s, self._tell)

    def _tell(self) -> None:
        self._status_timer = None
        status = sentence(self._waiting, self._give_up_after_s)
        if self._pieces or status == self._told:
            return
        self._told = status
        self._next_status_s = asyncio.get_running_loop().time() + STATUS_EVERY_S
        self._spawn(status)

    def _send_soon(self) -> None:
        if self._timer is None and not self._closed:
            loop = asyncio.get_running_loop()
            if self._next_s:
                self._timer = loop.call_at(self._next_s, self._send)
            else:  # not immediately, because the answer may end in this same step
                self._timer = loop.call_soon(self._send)

    def _send(self) -> None:
        self._timer = None
        self._next_s = asyncio.get_running_loop().time() + PARTIAL_EVERY_S
        self._spawn("")

    def _spawn(self, status: str) -> None:
        task = asyncio.get_running_loop().create_task(self._show(status))
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)

    async def _show(self, status: str) -> None:
        if self._closed or (status and self._pieces):
            return
        self._sequence += 1
        partial = Partial(
            prompt_id=self._ask.id,
            user=self._ask.user,
            place=self._ask.place,
            address=self._ask.address,
            text="" if status else self.text,
            attempt=self._attempt,
            sequence=self._sequence,
            after=self._after,
            status=status,
            early=self._early,
        )
        await self._bus.show_partial(partial)
