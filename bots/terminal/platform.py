"""The terminal as a chat platform: a line is a question, its answer is printed below.

It must never lose an answer: one that comes after its chat was closed is shown in the next one.
"""

import asyncio
import hashlib
from datetime import UTC, datetime
from typing import Final

from bots.platform import Part, Publish
from bots.split_text import Length
from bots.terminal.lines import Lines, TooLong
from bots.terminal.screen import Screen
from shared import names
from shared.bus import OverQuota, TooLarge
from shared.connection import Unavailable
from shared.log import logger
from shared.messages import TEXT_LIMIT_CHARS, Ask, Partial, Place, Reply, Reset, Stop

NOTHING_PUBLISHED: Final = 1
INTERRUPTED: Final = 130
"""A shell's exit code for a program that Ctrl-C ended: 128 + SIGINT."""

SILENCE_S: Final = 15.0
"""After so long without a word of the answer it is told what may be missing."""

_TOKEN_CHARS: Final = 120
"""Of a prompt id's 200, so that session and number fit behind the user."""

_PLACE: Final = Place(platform="terminal", channel="terminal", audience="direct")

HELP: Final = (
    "Write a line and press Enter; the answer appears below.\n"
    "/help   this text\n"
    "/reset  begin a new conversation: what was said here is forgotten\n"
    "/quit   leave (as Ctrl-D does)\n"
    "Ctrl-C  stops an answer; at the prompt, twice, it leaves"
)
SILENT: Final = (
    "No answer yet, still waiting. Is the dataflow running? "
    "`threadwax up` starts everything; `threadwax doctor` tells what is missing."
)


class Terminal:
    """One person's chat. `listen` returns at the end of input; `exit_code` is then set."""

    name: str = "terminal"
    text_limit_chars: int = 10_000_000
    parts_limit: int = 1
    """No terminal has a limit: this only keeps an answer in one part."""
    text_length: Length = staticmethod(len)

    def __init__(
        self, *, user: str, session: str, lines: Lines, screen: Screen, interactive: bool
    ) -> None:
        """Wires a chat of `user`; `session` is random, since a terminal numbers no lines itself."""
        _, token = names.split_user(user)
        if len(token) > _TOKEN_CHARS:
            token = hashlib.sha256(token.encode()).hexdigest()[:32]
        self._user = user
        self._prefix = f"terminal-{token}-{session}-"
        self._lines = lines
        self._screen = screen
        self._interactive = interactive
        self._number = 0
        self._asked: str | None = None
        self._answered = asyncio.Event()
        self._heard = asyncio.Event()
        self._stopping = False
        self._warned = False
        self._interrupted = asyncio.Event()
        self.exit_code = 0

    async def listen(self, publish: Publish) -> None:
        """Asks each line and waits for its answer, until there are no more lines."""
        interrupts = asyncio.create_task(self._obey_interrupts(publish))
        try:
            while True:
                self._warned = False
                try:
                    line = await self._lines.next()
                except TooLong:
                    self._refuse_length()
                    continue
                if line is None or not await self._take(line, publish):
                    return
        finally:
            interrupts.cancel()
            self._screen.close()

    async def _take(self, line: str, publish: Publish) -> bool:
        """Does what the line says; False ends the chat."""
        words = line.strip()
        if words == "/quit":
            return False
        if words == "/help":
            self._show_own(HELP)
        elif words == "/reset":
            return await self._reset(publish)
        elif words.startswith("/") and len(words.split()) == 1 and words.count("/") == 1:
            self._show_own(f"There is no command {words[:40]}. /help lists them.")
        elif len(line) > TEXT_LIMIT_CHARS:
            self._refuse_length(len(line))
        elif words:
            return await self._ask(line, publish)
        return True

    async def _ask(self, line: str, publish: Publish) -> bool:
        event = Ask(
            id=self._next_id(),
            user=self._user,
            place=_PLACE,
            said_at=datetime.now(UTC),
            text=line,
        )
        # Known before it is published: the answer may be there before the acknowledgement.
        self._asked = event.id
        self._stopping = False
        self._answered.clear()
        self._heard.clear()
        if not await self._published(event, publish):
            self._asked = None
            return self._interactive or not self.exit_code
        self._screen.waiting()
        silence = asyncio.create_task(self._break_silence())
        try:
            await self._answered.wait()
        finally:
            silence.cancel()
            self._asked = None
        return not self.exit_code

    async def _published(self, event: Ask | Reset | Stop, publish: Publish) -> bool:
        try:
            await publish(event)
        except Unavailable as error:
            again = "Press the up key for it and try again." if self._interactive else ""
            self._screen.note(f"Not sent: {error}. {again}".rstrip())
            if not self._interactive:
                self.exit_code = NOTHING_PUBLISHED
            return False
        except TooLarge as error:
            self._show_own(f"Not sent: {error}. Please send it in pieces.")
            return False
        except OverQuota as error:
            self._show_own(f"Not sent: {error}. Please try again later.")
            return False
        return True

    async def _reset(self, publish: Publish) -> bool:
        event = Reset(id=self._next_id(), user=self._user, place=_PLACE, said_at=datetime.now(UTC))
        if await self._published(event, publish):
            self._show_own("A new conversation begins.")
        return self._interactive or not self.exit_code

    async def _break_silence(self) -> None:
        try:
            async with asyncio.timeout(SILENCE_S):
                await self._heard.wait()
        except TimeoutError:
            self._screen.note(SILENT)

    def _next_id(self) -> str:
        self._number += 1
        return f"{self._prefix}{self._number}"

    def _refuse_length(self, length: int | None = None) -> None:
        has = f"{length:,}" if length else f"more than {TEXT_LIMIT_CHARS:,}"
        self._show_own(
            f"Not sent: the line has {has} characters, and a question may have "
            f"{TEXT_LIMIT_CHARS:,}. Please send it in pieces."
        )

    def _show_own(self, text: str) -> None:
        """Words of the program that answer a line: in a pipe they stand where its answer would."""
        if self._interactive:
            self._screen.note(text)
        else:
            self._screen.answer(text)

    # --- Ctrl-C ------------------------------------------------------------------------------

    def interrupt(self) -> None:
        """What Ctrl-C does: stops the answer, else leaves at the second time."""
        self._interrupted.set()

    async def _obey_interrupts(self, publish: Publish) -> None:
        while True:
            await self._interrupted.wait()
            self._interrupted.clear()
            if self._asked and not self._stopping:
                self._stopping = True
                event = Stop(
                    id=f"{self._asked}-stop",
                    user=self._user,
                    place=_PLACE,
                    said_at=datetime.now(UTC),
                    prompt_id=self._asked,
                )
                await self._published(event, publish)
                if not self._interactive:
                    self.exit_code = INTERRUPTED
                    self.leave()
            elif self._asked:
                self._screen.note("Leaving. The answer will be shown in your next chat.")
                self.leave()
            elif self._warned or not self._interactive:
                self.exit_code = 0 if self._interactive else INTERRUPTED
                self.leave()
            else:
                self._warned = True
                self._screen.hint("Ctrl-C again or Ctrl-D leaves.")

    def leave(self) -> None:
        """Ends the chat now; an answer that is still to come is shown in the next one."""
        self._lines.close()
        self._answered.set()

    # --- answers -----------------------------------------------------------------------------

    async def post(self, part: Part) -> str:
        """Prints an answer: below its question, or as a late one to an earlier chat's."""
        reply = part.reply
        # The one part of a text without limit may lack its last line ends; the text does not.
        text = reply.text if part.count == 1 and reply.text.strip() else part.text
        if reply.prompt_id == self._asked:
            self._heard.set()
            self._screen.answer(text)
            if part.index == part.count - 1:
                self._asked = None
                self._answered.set()
        else:
            question = reply.prompt_text or "(not kept)"
            self._screen.late_answer(question, text, prompting=self._lines.prompting)
        logger().debug("printed", prompt=reply.prompt_id)
        return reply.prompt_id

    async def find_posted(self, part: Part) -> str | None:
        """None: nobody can tell what was read on a screen, and twice is better than never."""
        del part
        return None

    async def show_partial(self, partial: Partial) -> None:
        """Shows the answer to the question that is waited for while it grows."""
        if partial.prompt_id == self._asked:
            self._heard.set()
            self._screen.growing(partial.text)

    async def withdraw(self, reply: Reply) -> None:
        """Nothing: nobody can delete a line in a terminal."""

    async def close(self) -> None:
        """Ends the chat."""
        self.leave()
