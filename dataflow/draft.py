"""A growing answer on its way to people, and before it the reason why there is no text yet.

It begins when its question has to wait, or is asked, whichever comes first.

Best effort: a partial can be lost. It must never show anything after the answer is over.
"""

import asyncio
from typing import Final

from dataflow.model.status import Queued, Waiting, sentence
from dataflow.overdue import Overdue
from shared.bus import Bus
from shared.messages import Ask, Partial

PARTIAL_EVERY_S: Final = 0.05
"""The text is sent at most this often; more would be more than an eye can see."""

STATUS_AFTER_S: Final = 10.0
"""For so long a person waits without asking what is going on."""

STATUS_EVERY_S: Final = 3.0
"""Reasons change at most this often."""


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
    def text(self) -> str:
        """What was said so far."""
        return "".join(self._pieces)

    def queue(self, queued: Queued, after: str | None) -> None:
        """The question waits before it is asked."""
        self._begin()
        self._after, self._early = after, queued == "thread"
        self.wait(queued)

    def ask(self, after: str | None) -> None:
        """The model is asked; the reply comes after that of the question `after`."""
        self._after, self._early = after, False
        if self._begin():
            # The answer may begin in a moment.
            self._next_status_s = asyncio.get_running_loop().time() + STATUS_EVERY_S
            self.wait("slow")

    def _begin(self) -> bool:
        """The person waits from now on, unless that began before: then returns True."""
        begun, self._begun = self._begun, True
        if not begun:
            self._slow.expect(self._due)
        return begun

    def wait(self, waiting: Waiting) -> None:
        """Why there is no text yet."""
        if waiting != self._waiting:
            self._waiting = waiting
            self._tell_soon()

    def add(self, piece: str) -> None:
        """More of the answer."""
        self._pieces.append(piece)
        self._send_soon()

    def start_over(self) -> None:
        """Everything that was added is not part of the answer."""
        self._pieces.clear()
        self._attempt += 1
        self._send_soon()

    def close(self) -> None:
        """The answer is whole, or over: what is not on its way yet need not go."""
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
            else:  # not at once: the answer may be whole in this same moment
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
