"""The port: what the relay needs of a chat platform, and the errors by what the relay does next.

A platform is one folder beside this file. Foreign shapes stop there: towards the rest it speaks
events, parts and receipts only. It keeps no state about questions, since every reply carries its
return address.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from shared.messages import AnyEvent, Partial, Reply

Publish = Callable[[AnyEvent], Awaitable[bool]]
"""Stores an event on disk: True if it is new, False if it was stored before.

Raises `Unavailable`, `TooLarge` or `OverQuota`, as `Bus.publish` does.
"""


WAIT_LIMIT_S: Final = 600.0
"""A platform that asks for a longer wait is asked again after this."""


def bounded_s(seconds: float) -> float:
    """A wait that a platform asks for: at least 0 and at most `WAIT_LIMIT_S`, also for NaN."""
    return min(max(seconds, 0.0), WAIT_LIMIT_S) if math.isfinite(seconds) else WAIT_LIMIT_S


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a reply, short enough for the platform; `count` pieces make the whole."""

    reply: Reply
    text: str
    index: int
    count: int

    @property
    def key(self) -> str:
        """Names this part for ever: `<prompt id>.<index>`."""
        return f"{self.reply.prompt_id}.{self.index}"


class PostError(Exception):
    """A part could not be posted."""


class Later(PostError):
    """Try again after `wait_s` seconds: a rate limit, an outage, a response that never came.

    `maybe_posted`: the platform may have taken the part anyway, so look before posting it again.
    `refused`: it understood the call and refused it for a reason that we do not know.
    """

    def __init__(
        self, reason: str, wait_s: float, *, maybe_posted: bool = False, refused: bool = False
    ) -> None:
        super().__init__(reason)
        self.wait_s = bounded_s(wait_s)
        self.maybe_posted = maybe_posted
        self.refused = refused


class Never(PostError):
    """The platform refuses this text itself: say so once in plain words instead."""


class Gone(PostError):
    """The place or the person is no longer there: nobody can be told."""


class Forbidden(PostError):
    """The bot may not speak there: tell the operator, not the user."""


class ChatPlatform(Protocol):
    """One chat platform. Every method may be called concurrently for different users."""

    name: str
    text_limit_chars: int
    parts_limit: int
    """Parts of one answer at most; what does not fit is replaced by a notice."""

    def text_length(self, text: str) -> int:
        """A text's length in the unit of `text_limit_chars`, as the platform counts it."""

    async def listen(self) -> None:
        """Publishes what people do as events, until the platform is closed."""

    async def post(self, part: Part) -> str:
        """Shows one part and returns the platform's receipt (its message id).

        Must itself hand the platform the part's key where the platform can dedupe by it. A live
        preview of the answer becomes the first part.

        Raises:
            PostError: one of its four kinds.
        """

    async def find_posted(self, part: Part) -> str | None:
        """The receipt of a part that may have been posted before a crash; None where it was not.

        An unfinished preview that is found counts as not posted, and becomes what `post` completes.

        Raises:
            Later: the platform cannot be asked now.
        """

    async def show_partial(self, partial: Partial) -> None:
        """Shows an answer while it grows. Best effort: never raises, never holds up a post."""

    async def withdraw(self, reply: Reply) -> None:
        """Removes what was shown of an answer to a question that was deleted. Best effort."""

    async def close(self) -> None:
        """Stops listening; what was accepted is already stored."""


class Preparing(Protocol):
    """A platform that cannot show every text as a model writes it."""

    def prepared(self, text: str) -> str:
        """A whole reply's text as it is to be split and posted."""
