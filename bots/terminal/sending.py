"""Sends the events of one person's chat, and shows the program's own words about them.

It must never give two events the same id, not even in another chat of the same person.
"""

import hashlib
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from bots.platform import Publish
from bots.terminal.screen import Screen
from shared import user_names
from shared.bus import OverQuota, TooLarge
from shared.connection import Unavailable
from shared.messages import TEXT_LIMIT_CHARS, AnyEvent, Event, Place, Stop

E = TypeVar("E", bound=Event)

TOKEN_CHARS: Final = 120
"""A longer token is hashed, so that user, session and number fit into a prompt id."""

_PLACE: Final = Place(platform="terminal", channel="terminal", audience="direct")


class Sending:
    """What a chat sends. In a pipe, a refusal makes the program fail."""

    def __init__(
        self, publish: Publish, user: str, session: str, screen: Screen, *, interactive: bool
    ) -> None:
        """`session` is random and makes ids unique: a terminal has no message ids."""
        _, token = user_names.split_user(user)
        if len(token) > TOKEN_CHARS:
            token = hashlib.sha256(token.encode()).hexdigest()[:32]
        self._publish = publish
        self._user = user
        self._prefix = f"terminal-{token}-{session}-"
        self._screen = screen
        self._interactive = interactive
        self._number = 0
        self.failed = False
        """Whether a line of a pipe was refused, or its question was not answered."""
        self.unavailable = False
        """Whether NATS is away, so that the other lines of a pipe cannot be sent either."""

    def new(self, kind: type[E], **fields: Any) -> E:
        """An event of this person, with an id of its own."""
        self._number += 1
        return self._event(kind, f"{self._prefix}{self._number}", **fields)

    def stop_of(self, prompt_id: str) -> Stop:
        """The event that ends an answer. One answer has one, however often Ctrl-C is pressed."""
        return self._event(Stop, f"{prompt_id}-stop", prompt_id=prompt_id)

    def _event(self, kind: type[E], id_: str, **fields: Any) -> E:
        return kind(id=id_, user=self._user, place=_PLACE, said_at=datetime.now(UTC), **fields)

    async def publish(self, event: AnyEvent) -> bool:
        """Publishes an event; returns False if it was not published, and shows why."""
        try:
            await self._publish(event)
        except Unavailable as error:
            self._screen.note(f"Not sent: {error}.")
            self.unavailable |= not self._interactive
            return False
        except (TooLarge, OverQuota) as error:
            remedy = "send it in pieces" if isinstance(error, TooLarge) else "try again later"
            self.refuse(f"Not sent: {error}. Please {remedy}.")
            return False
        return True

    def show(self, text: str) -> None:
        """Shows the program's response to a line; in a pipe it replaces the answer."""
        if self._interactive:
            self._screen.note(text)
        else:
            self._screen.answer(text)

    def refuse(self, text: str) -> None:
        """Shows why a line was not obeyed; in a pipe this is a failure."""
        self.failed |= not self._interactive
        self.show(text)

    def refuse_length(self, length: int | None = None) -> None:
        """Refuses a text that is too long; None: nobody counted it."""
        has = f"{length:,}" if length else f"more than {TEXT_LIMIT_CHARS:,}"
        self.refuse(
            f"Not sent: the line has {has} characters, and the limit is {TEXT_LIMIT_CHARS:,}. "
            "Please send it in pieces."
        )
