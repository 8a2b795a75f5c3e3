"""The terminal as a chat platform: a line is a question, and its answer is printed below it.

It must never lose an answer: the next chat shows one that came after its chat was closed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from bots.platform import Part, Publish
from bots.split_text import Length
from bots.terminal.commands import Commands, command_in
from bots.terminal.messages import Lines, TooLong
from bots.terminal.rating import Opinion
from bots.terminal.screen import Screen
from bots.terminal.sending import Sending
from bots.terminal.wording import (
    DISCONNECTED,
    EXIT_WORDS,
    FORGET_SURELY,
    LEFT_UNANSWERED,
    NO_PROGRESS,
)
from shared.log import logger
from shared.messages import TEXT_LIMIT_CHARS, Ask, Forget
from shared.replies import Partial, Reply

NOTHING_PUBLISHED: Final = 1
INTERRUPTED: Final = 130
"""A shell's exit code for a program that Ctrl-C ended: 128 + SIGINT."""

NO_PROGRESS_S: Final = 15.0
"""If nothing happens for this long, the person is told which process does not respond.

A running dataflow reports the reason for a wait after 10 s.
"""

LEAVE_WITHIN_S: Final = 3.0
"""A second Ctrl-C within this time ends the chat."""


class Terminal:
    """One person's chat. After `listen` has returned, `exit_code` has the result."""

    name: str = "terminal"
    text_limit_chars: int = 10_000_000
    parts_limit: int = 1
    """Terminals have no limit: an answer is always one part."""
    text_length: Length = staticmethod(len)

    def __init__(
        self,
        *,
        publish: Publish,
        user: str,
        session: str,
        lines: Lines,
        screen: Screen,
        interactive: bool,
        fetch_history: Callable[[str], Awaitable[bytes]],
        connected: Callable[[], bool] = lambda: True,
    ) -> None:
        """Wires a chat of `user`.

        `session` is random and makes prompt ids unique: a terminal has no message ids. `connected`
        returns whether NATS can be reached now. `fetch_history` returns what is recorded of a user,
        or raises `NotNow`.
        """
        self._sending = Sending(publish, user, session, screen, interactive=interactive)
        self._commands = Commands(self._sending, lines, partial(fetch_history, user))
        self._lines = lines
        self._screen = screen
        self._interactive = interactive
        self._connected = connected
        self._asked: str | None = None
        self._answered = asyncio.Event()
        self._heard = asyncio.Event()
        self._stopping = False
        self._stop: asyncio.Task[bool] | None = None
        self._warned_at = -LEAVE_WITHIN_S
        self._unsent: Ask | None = None
        self._exit_code = 0

    @property
    def exit_code(self) -> int:
        """0 if each question was answered, 1 if one was not, or the code that ended the chat."""
        failed = self._sending.failed or self._sending.unavailable
        return self._exit_code or (NOTHING_PUBLISHED if failed else 0)

    async def listen(self) -> None:
        """Asks each line as a question and waits for its answer, until there are no more lines."""
        try:
            while True:
                try:
                    line = await self._lines.next()
                except TooLong:
                    self._sending.refuse_length()
                    continue
                if line is None or not await self._take(line):
                    return
        finally:
            self._screen.close()

    async def _take(self, line: str) -> bool:
        """Handles one line; returns False to end the chat."""
        words = line.strip()
        if words == "/quit":
            return False
        if words in EXIT_WORDS and self._interactive:
            self._screen.note("Leaving. To ask about this word, write it in a sentence.")
            return False
        if words == FORGET_SURELY:
            self._lines.forget()
            # Waits for the message that everything is erased.
            await self._answer_to(self._sending.new(Forget))
        elif (command := command_in(words)) is not None:
            await self._commands.obey(command)
        elif len(line) > TEXT_LIMIT_CHARS:
            self._sending.refuse_length(len(line))
            self._lines.give_back(line)
        elif words:
            await self._ask(line)
        return not self._exit_code and not self._sending.unavailable

    async def _ask(self, line: str) -> None:
        event = self._sending.new(Ask, text=line)
        if self._unsent and self._unsent.text == line:
            # It may have been stored after all: the same id prevents a duplicate.
            event = self._unsent
        self._unsent = None
        if not await self._answer_to(event):
            self._unsent = event
            self._lines.unqueue()
            self._lines.give_back(line)

    async def _answer_to(self, event: Ask | Forget) -> bool:
        """Publishes an event and waits for its answer; returns False if it was not published."""
        # Set before publishing: the answer may arrive before the acknowledgement.
        self._asked = event.id
        self._stopping = False
        self._answered.clear()
        self._heard.clear()
        self._screen.waiting()
        watching = asyncio.create_task(self._report_no_progress())
        try:
            if await self._sending.publish(event):
                await self._answered.wait()
                return True
            self._screen.stop_waiting()
            return False
        finally:
            watching.cancel()
            self._asked = None

    async def _report_no_progress(self) -> None:
        try:
            async with asyncio.timeout(NO_PROGRESS_S):
                await self._heard.wait()
        except TimeoutError:
            show = self._screen.status if self._interactive else self._screen.note
            show(NO_PROGRESS if self._connected() else DISCONNECTED)

    # --- Ctrl-C ------------------------------------------------------------------------------

    def interrupt(self) -> None:
        """Handles Ctrl-C: stops the answer, clears the line, or leaves.

        Synchronous, so that keys pressed after it are not cleared with the line.
        """
        if self._asked and not self._stopping:
            self._stop_answer(self._asked)
        elif self._lines.clear():
            self._warned_at = -LEAVE_WITHIN_S
        elif self._asked:
            self._screen.note(LEFT_UNANSWERED)
            self.leave()
        elif not self._interactive:
            self.leave(INTERRUPTED)
        elif time.monotonic() - self._warned_at < LEAVE_WITHIN_S:
            self.leave()
        else:
            self._warned_at = time.monotonic()
            self._screen.hint("Ctrl-C again leaves, and so does Ctrl-D.")

    def _stop_answer(self, asked: str) -> None:
        self._stopping = True
        # A person who stops an answer may no longer want to ask what they typed meanwhile.
        self._lines.unqueue()
        # Not awaited: without NATS it takes a while, and a second Ctrl-C must still leave at once.
        stop = self._sending.stop_of(asked)
        self._stop = asyncio.create_task(self._sending.publish(stop))
        if not self._interactive:
            self._stop.add_done_callback(lambda _: self.leave(INTERRUPTED))

    def leave(self, exit_code: int = 0) -> None:
        """Ends the chat now; the next chat shows an answer that is still to come."""
        self._exit_code = exit_code or self._exit_code
        self._lines.close()
        self._answered.set()

    # --- answers -----------------------------------------------------------------------------

    async def post(self, part: Part) -> str:
        """Prints an answer below its question, or as a late one to an earlier chat's question."""
        reply = part.reply
        # Splitting strips trailing line ends, so a single part shows the reply's own text.
        text = reply.text if part.count == 1 and reply.text.strip() else part.text
        if reply.prompt_id == self._asked:
            self._heard.set()
            self._sending.failed |= not self._interactive and reply.outcome in {"failed", "refused"}
            self._screen.answer(text)
            if part.index == part.count - 1:
                self._commands.opinion = (
                    Opinion(reply.prompt_id) if reply.outcome == "answered" else None
                )
                self._asked = None
                self._answered.set()
        else:
            if self._unsent and reply.prompt_id == self._unsent.id:
                # NATS stored it after all: Enter must not ask it again, as another question.
                self._lines.take_back(self._unsent.text)
                self._unsent = None
            self._screen.late_answer(reply.prompt_text or "(not kept)", text)
        logger().debug("printed", prompt=reply.prompt_id)
        return reply.prompt_id

    async def find_posted(self, part: Part) -> str | None:
        """Always None: a screen cannot be asked, and showing it twice is better than never."""
        del part
        return None

    async def show_partial(self, partial: Partial) -> None:
        """Shows the answer to the current question while it grows."""
        if partial.prompt_id != self._asked:
            return
        self._heard.set()
        if partial.text:
            self._screen.show_partial(partial.text)
        else:
            self.show_status(partial)

    def show_status(self, partial: Partial) -> None:
        """Shows why there is no text yet.

        Unlike text, this may be shown while an earlier answer is still to come.
        """
        if partial.prompt_id == self._asked and partial.status:
            self._heard.set()
            self._screen.status(partial.status)

    async def withdraw(self, reply: Reply) -> None:
        """Does nothing: a printed line cannot be deleted."""

    async def close(self) -> None:
        """Ends the chat."""
        self.leave()
