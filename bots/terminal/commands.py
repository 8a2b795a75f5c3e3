"""The commands of a chat that the model does not answer: /help, /privacy, ratings and so on."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from bots.privacy import EXPLANATION, choice_of, confirmation_of, settings_of
from bots.terminal import rating, wording
from bots.terminal.messages import Lines
from bots.terminal.own_history import written
from bots.terminal.rating import Opinion
from bots.terminal.sending import Sending
from shared.messages import TEXT_LIMIT_CHARS, Configure, Rate, Reset
from shared.own_history import NotNow

_WITH_WORDS: Final = frozenset({wording.PRIVACY, *rating.COMMANDS})
"""The commands that can have more words after them."""


class Command(NamedTuple):
    """A line that is not a question: the command, and the words after it."""

    name: str
    words: str


def command_in(line: str) -> Command | None:
    """The command in a line; None: the line is a question, such as one about /etc/hosts."""
    first, rest = [*line.split(maxsplit=1), "", ""][:2]
    if first in _WITH_WORDS:
        return Command(first, rest.strip())
    is_command = first.startswith("/") and "/" not in first[1:] and not rest
    return Command(first, "") if is_command else None


class Commands:
    """Obeys them. `opinion` is of the latest answer; None: there is nothing to rate."""

    def __init__(
        self, sending: Sending, lines: Lines, fetch_history: Callable[[], Awaitable[bytes]]
    ) -> None:
        """`fetch_history` returns what is recorded of this person, or raises `NotNow`."""
        self._sending = sending
        self._lines = lines
        self._fetch_history = fetch_history
        self.opinion: Opinion | None = None

    async def obey(self, command: Command) -> None:
        """Does what a command says, or shows why not."""
        match command.name:
            case "/help":
                self._sending.show(wording.HELP)
            case "/reset":
                if await self._sending.publish(self._sending.new(Reset)):
                    self._sending.show("A new conversation begins.")
            case "/export":
                await self._export()
            case wording.FORGET:
                self._sending.show(wording.CONFIRM_FORGET)
            case wording.PRIVACY:
                await self._privacy(command.words)
            case name if name in rating.COMMANDS:
                await self._rate(command)
            case name:
                self._sending.refuse(f"There is no command {name[:40]}. /help lists them.")

    async def _privacy(self, words: str) -> None:
        if (choice := choice_of(words)) is None:
            self._sending.show(EXPLANATION)
            return
        if await self._sending.publish(self._sending.new(Configure, settings=settings_of(choice))):
            self._sending.show(confirmation_of(choice))

    async def _rate(self, command: Command) -> None:
        before = self.opinion
        rated = rating.NOTHING_TO_RATE if before is None else before.after(*command)
        if isinstance(rated, str):
            self._sending.refuse(rated)
        elif len(rated.correction) > TEXT_LIMIT_CHARS:
            self._sending.refuse_length(len(rated.correction))
            self._lines.give_back(" ".join(command))
        elif await self._sending.publish(self._sending.new(Rate, **asdict(rated))):
            self.opinion = rated
            self._sending.show(rating.NOTED[command.name])

    async def _export(self) -> None:
        try:
            data = await self._fetch_history()
            if not data:
                self._sending.show(wording.EXPORT_NOTHING)
                return
            path = await asyncio.to_thread(written, data, Path.cwd(), datetime.now(UTC))
        except NotNow:
            self._sending.refuse(wording.EXPORT_UNAVAILABLE)
        except OSError as error:
            why = f"The file cannot be written to {Path.cwd()}: {error.strerror}."
            self._sending.refuse(why)
        else:
            self._sending.show(wording.EXPORTED.format(path=path))
