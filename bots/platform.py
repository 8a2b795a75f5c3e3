"""The port: what the relay needs from a chat platform, and the errors it can handle.

A platform is a folder next to this file. Its own data types stay inside that folder; the rest of
the program sees events, parts and receipts only. A platform keeps no state about questions, because
every reply carries its return address.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from shared.messages import Address, AnyEvent
from shared.replies import Partial, Reply

Publish = Callable[[AnyEvent], Awaitable[bool]]
"""Stores an event on disk: True if it is new, False if it was stored before.

Raises `Unavailable`, `TooLarge` or `OverQuota`, as `Bus.publish` does.
"""

WAIT_LIMIT_S: Final = 600.0
"""The longest wait for a platform, even if it asks for more."""


def bounded_s(seconds: float) -> float:
    """Clamps a platform's requested wait to 0 to `WAIT_LIMIT_S` s; NaN becomes the limit."""
    return min(max(seconds, 0.0), WAIT_LIMIT_S) if math.isfinite(seconds) else WAIT_LIMIT_S


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a reply, short enough for the platform; `count` pieces make up the reply."""

    reply: Reply
    text: str
    index: int
    count: int

    @property
    def key(self) -> str:
        """Identifies this part forever: `<prompt id>.<index>`."""
        return f"{self.reply.prompt_id}.{self.index}"


class PostError(Exception):
    """A part could not be posted; the subclass says what the relay does next."""


class Later(PostError):
    """Try again after `wait_s` seconds: a rate limit, an outage, a missing response.

    `maybe_posted`: the platform may have posted the part, so look for it before posting it again.
    `refused`: the platform understood the call and refused it for an unknown reason. `unanswered`:
    nothing came back at all, so another process may reach it.
    """

    def __init__(
        self,
        reason: str,
        wait_s: float,
        *,
        maybe_posted: bool = False,
        refused: bool = False,
        unanswered: bool = False,
    ) -> None:
        super().__init__(reason)
        self.wait_s = bounded_s(wait_s)
        self.maybe_posted = maybe_posted
        self.refused = refused
        self.unanswered = unanswered


class Never(PostError):
    """The platform refuses this text: post a notice in its place."""


class Gone(PostError):
    """The place or the person no longer exists: there is nobody left to tell."""


class Forbidden(PostError):
    """The bot is not allowed to post there: tell the operator, not the user."""


class ChatPlatform(Protocol):
    """One chat platform. Its methods may be called concurrently for different users.

    They may be called before `listen` has connected and after it has ended: `post` and
    `find_posted` raise `Later` if the platform cannot be reached. `show_partial` and `withdraw` are
    best effort: they never raise an error of the platform, and at most log it.
    """

    name: str
    text_limit_chars: int
    parts_limit: int
    """The most parts of one answer; a notice replaces the text that does not fit."""

    def text_length(self, text: str) -> int:
        """The length of a text in the unit of `text_limit_chars`, as the platform counts it."""

    async def listen(self) -> None:
        """Publishes what people do as events, until the platform is closed."""

    async def post(self, part: Part) -> str:
        """Shows one part and returns the platform's receipt (its message id).

        If the platform can deduplicate, this must send `part.key` along. If the answer has a
        preview, the preview becomes the first part.

        Raises:
            PostError: one of its four subclasses.
        """

    async def find_posted(self, part: Part) -> str | None:
        """The receipt of a part that may have been posted before a crash; None if it was not.

        An unfinished preview counts as not posted; `post` then completes it.

        Raises:
            Later: the platform cannot be asked now.
        """

    async def show_partial(self, partial: Partial) -> None:
        """Shows an answer while it grows. Best effort: may skip any partial.

        Can be cancelled at any time, because it must not delay the post of the answer.
        """

    async def withdraw(self, reply: Reply) -> None:
        """Removes what was shown of an answer whose question was deleted. Best effort.

        Returns within a minute: the next answer of the thread waits for it.
        """

    async def close(self) -> None:
        """Stops listening. Everything accepted so far is already stored."""


class Preparing(Protocol):
    """A platform that has to rewrite some texts before it can show them."""

    def prepared(self, text: str) -> str:
        """A reply's whole text, ready to be split and posted."""


@runtime_checkable
class AmongPeers(Protocol):
    """A platform that remembers something which another of its processes may know first.

    News may be lost, so it must never depend on them for what is stored or posted.
    """

    def asked_elsewhere(self, address: Address) -> None:
        """Another process has stored a question with this return address."""

    def answered_elsewhere(self, prompt_id: str) -> None:
        """Another process shows the reply to this question, and nothing more comes before it."""
