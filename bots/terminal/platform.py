"""The terminal as a chat platform: a line is a question, and its answer is printed below it.

It must never lose an answer: the next chat shows one that came after its chat was closed.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bots.platform import Part, Publish
from bots.privacy import EXPLANATION, choice_of, confirmation_of, settings_of
from bots.split_text import Length
from bots.terminal import wording
from bots.terminal.messages import Lines, TooLong
from bots.terminal.own_history import written
from bots.terminal.rating import COMMANDS, NOTED, NOTHING_TO_RATE, Opinion
from bots.terminal.screen import Screen
from bots.terminal.wording import (
    CONFIRM_FORGET,
    DISCONNECTED,
    EXIT_WORDS,
    HELP,
    LEFT_UNANSWERED,
    NO_PROGRESS,
    PRIVACY,
)
from shared import names
from shared.bus import OverQuota, TooLarge
from shared.connection import Unavailable
from shared.log import logger
from shared.messages import (
    TEXT_LIMIT_CHARS,
    AnyEvent,
    Ask,
    Configure,
    Forget,
    Partial,
    Place,
    Rate,
    Reply,
    Reset,
    Stop,
)
from shared.own_history import NotNow

NOTHING_PUBLISHED: Final = 1
INTERRUPTED: Final = 130
"""A shell's exit code for a program that Ctrl-C ended: 128 + SIGINT."""

NO_PROGRESS_S: Final = 15.0
"""If nothing happens for this long, the person is told which process does not respond.

A running dataflow reports the reason for a wait after 10 s.
"""

LEAVE_WITHIN_S: Final = 3.0
"""A second Ctrl-C within this time ends the chat."""

_TOKEN_CHARS: Final = 120
"""A longer token is hashed, so that user, session and number fit into a prompt id."""

_PLACE: Final = Place(platform="terminal", channel="terminal", audience="direct")


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
        _, token = names.split_user(user)
        if len(token) > _TOKEN_CHARS:
            token = hashlib.sha256(token.encode()).hexdigest()[:32]
        self._publish = publish
        self._user = user
        self._prefix = f"terminal-{token}-{session}-"
        self._lines = lines
        self._screen = screen
        self._interactive = interactive
        self._connected = connected
        self._fetch_history = fetch_history
        self._number = 0
        self._asked: str | None = None
        self._answered = asyncio.Event()
        self._heard = asyncio.Event()
        self._stopping = False
        self._stop: asyncio.Task[bool] | None = None
        self._warned_at = -LEAVE_WITHIN_S
        self._unsent: Ask | None = None
        self._opinion: Opinion | None = None
        """Of the latest answer."""

        self._failed = False
        self._exit_code = 0

    @property
    def exit_code(self) -> int:
        """0 if each question was answered, 1 if one was not, or the code that ended the chat."""
        return self._exit_code or (NOTHING_PUBLISHED if self._failed else 0)

    async def listen(self) -> None:
        """Asks each line as a question and waits for its answer, until there are no more lines."""
        try:
            while True:
                try:
                    line = await self._lines.next()
                except TooLong:
                    self._refuse_length()
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
        first = next(iter(words.split()), "")
        if first in {PRIVACY, *COMMANDS}:
            said = words.removeprefix(first).strip()
            return await (self._privacy(said) if first == PRIVACY else self._rate(first, said))
        if (
            words in {wording.FORGET_SURELY, first}
            and first.startswith("/")
            and "/" not in words[1:]
        ):
            return await self._obey(words)
        if len(line) > TEXT_LIMIT_CHARS:
            self._refuse_length(len(line))
            self._lines.give_back(line)
        elif words:
            return await self._ask(line)
        return True

    async def _obey(self, command: str) -> bool:
        """Obeys a command without arguments; returns False to end the chat."""
        match command:
            case "/help":
                self._show_own(HELP)
            case "/reset":
                return await self._reset()
            case "/export":
                await self._export()
            case wording.FORGET:
                self._show_own(CONFIRM_FORGET)
            case wording.FORGET_SURELY:
                self._lines.forget()
                return await self._forget()
            case _:
                self._failed = not self._interactive
                self._show_own(f"There is no command {command[:40]}. /help lists them.")
        return True

    async def _ask(self, line: str) -> bool:
        event = Ask(
            id=self._next_id(), user=self._user, place=_PLACE, said_at=datetime.now(UTC), text=line
        )
        if self._unsent and self._unsent.text == line:
            # It may have been stored after all: the same id prevents a duplicate.
            event = self._unsent
        self._unsent = None
        if not await self._answer_to(event):
            self._unsent = event
            self._lines.unqueue()
            self._lines.give_back(line)
        return not self._exit_code

    async def _forget(self) -> bool:
        """Has the dataflow erase everything, and waits for the message that it is done."""
        now = datetime.now(UTC)
        await self._answer_to(
            Forget(id=self._next_id(), user=self._user, place=_PLACE, said_at=now)
        )
        return not self._exit_code

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
            if await self._published(event):
                await self._answered.wait()
                return True
            self._screen.stop_waiting()
            return False
        finally:
            watching.cancel()
            self._asked = None

    async def _published(self, event: AnyEvent) -> bool:
        try:
            await self._publish(event)
        except Unavailable as error:
            self._screen.note(f"Not sent: {error}.")
            if not self._interactive:
                self._exit_code = NOTHING_PUBLISHED
            return False
        except (TooLarge, OverQuota) as error:
            self._failed = not self._interactive
            remedy = "send it in pieces" if isinstance(error, TooLarge) else "try again later"
            self._show_own(f"Not sent: {error}. Please {remedy}.")
            return False
        return True

    async def _reset(self) -> bool:
        event = Reset(id=self._next_id(), user=self._user, place=_PLACE, said_at=datetime.now(UTC))
        if await self._published(event):
            self._show_own("A new conversation begins.")
        return not self._exit_code

    async def _privacy(self, arguments: str) -> bool:
        if (choice := choice_of(arguments)) is None:
            self._show_own(EXPLANATION)
            return True
        event = Configure(
            id=self._next_id(), user=self._user, place=_PLACE, said_at=datetime.now(UTC),
            settings=settings_of(choice),
        )  # fmt: skip
        if await self._published(event):
            self._show_own(confirmation_of(choice))
        return not self._exit_code

    async def _rate(self, command: str, said: str) -> bool:
        opinion = self._opinion
        rated = NOTHING_TO_RATE if opinion is None else opinion.after(command, said)
        if isinstance(rated, str):
            self._failed |= not self._interactive
            self._show_own(rated)
            return True
        if len(rated.correction) > TEXT_LIMIT_CHARS:
            self._refuse_length(len(rated.correction))
            self._lines.give_back(f"{command} {said}")
            return True
        event = Rate(
            id=self._next_id(), user=self._user, place=_PLACE, said_at=datetime.now(UTC),
            **asdict(rated),
        )  # fmt: skip
        if await self._published(event):
            self._opinion = rated
            self._show_own(NOTED[command])
        return not self._exit_code

    async def _export(self) -> None:
        try:
            data = await self._fetch_history(self._user)
            if data:
                path = await asyncio.to_thread(written, data, Path.cwd(), datetime.now(UTC))
        except NotNow:
            words = wording.EXPORT_UNAVAILABLE
        except OSError as error:
            words = f"The file cannot be written to {Path.cwd()}: {error.strerror}."
        else:
            words = wording.EXPORTED.format(path=path) if data else wording.EXPORT_NOTHING
            self._show_own(words)
            return
        self._failed = not self._interactive
        self._show_own(words)

    async def _report_no_progress(self) -> None:
        try:
            async with asyncio.timeout(NO_PROGRESS_S):
                await self._heard.wait()
        except TimeoutError:
            show = self._screen.status if self._interactive else self._screen.note
            show(NO_PROGRESS if self._connected() else DISCONNECTED)

    def _next_id(self) -> str:
        self._number += 1
        return f"{self._prefix}{self._number}"

    def _refuse_length(self, length: int | None = None) -> None:
        self._failed = not self._interactive
        has = f"{length:,}" if length else f"more than {TEXT_LIMIT_CHARS:,}"
        self._show_own(
            f"Not sent: the line has {has} characters, and the limit is {TEXT_LIMIT_CHARS:,}. "
            "Please send it in pieces."
        )

    def _show_own(self, text: str) -> None:
        """Shows the program's response to a line; in a pipe it replaces the answer."""
        if self._interactive:
            self._screen.note(text)
        else:
            self._screen.answer(text)

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
        now = datetime.now(UTC)
        event = Stop(
            id=f"{asked}-stop", user=self._user, place=_PLACE, said_at=now, prompt_id=asked
        )
        # Not awaited: without NATS it takes a while, and a second Ctrl-C must still leave at once.
        self._stop = asyncio.create_task(self._published(event))
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
            self._failed |= not self._interactive and reply.outcome in {"failed", "refused"}
            self._screen.answer(text)
            if part.index == part.count - 1:
                self._opinion = Opinion(reply.prompt_id) if reply.outcome == "answered" else None
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
