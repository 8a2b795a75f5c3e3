"""Reads dead letters from NATS, and removes them.

Listing reads headers only, because the contents can take 256 MB.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import nats.errors
import nats.js.errors
from nats.js import api

from shared import names, user_names
from shared.bus import REASON, Bus
from shared.connection import Refused, Unavailable
from shared.dead_letters import why_not

CLIENT_NAME: Final = "setup"
"""The inbox of the administrator, whose account can read and delete dead letters."""

NEXT_WITHIN_S: Final = 10.0

NEEDS_ADMIN: Final = (
    "This command needs the administrator: NATS_URL=nats://admin:...@host:4222 (docs/deploy.md)."
)
NO_ANSWER: Final = (
    "NATS does not answer about the dead letters: either the connection was lost, or the stream "
    f"{names.DLQ} is missing, which `threadwax nats --setup-only` creates."
)

_SIZE: Final = "Nats-Msg-Size"
"""With headers only, the server gives the size of the content in this one."""

_NOT_THERE: Final = frozenset({10037, 10043, 10057})
"""No message found, sequence not found, message delete failed: it is gone already."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter without its content. `number` is its sequence in the stream."""

    number: int
    stored_at: datetime
    subject: str
    reason: str
    size_bytes: int

    @property
    def platform(self) -> str:
        """The platform of its sender or reader; requests without an inbox are the gateway's."""
        user = self.user
        return user.partition(":")[0] if user else "gateway"

    @property
    def user(self) -> str | None:
        """The user who wrote it or should get it; None if the subject does not say."""
        try:
            return names.user_of_dead_letter(self.subject)
        except user_names.BadName:
            return None

    @property
    def why_not(self) -> str | None:
        """Why it can never be replayed; None if it may be."""
        return why_not(self.subject)


@dataclass(frozen=True, slots=True)
class Content:
    """A dead letter with its headers and its content."""

    letter: Letter
    headers: dict[str, str]
    data: bytes


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters are meant. An empty field does not restrict."""

    platform: str = ""
    since: datetime | None = None
    reason: str = ""
    """A part of the reason, in any case."""

    def accepts(self, letter: Letter) -> bool:
        """Whether a letter is one of them."""
        return (
            (not self.platform or letter.platform == self.platform)
            and (self.since is None or letter.stored_at >= self.since)
            and self.reason.lower() in letter.reason.lower()
        )


@asynccontextmanager
async def connected(url: str | Callable[[], str]) -> AsyncIterator[Bus]:
    """A connection of an operator.

    Raises:
        Unavailable: NATS cannot be used, or does not answer this user.
    """
    needs = names.stream_info(names.DLQ)
    try:
        bus = await Bus.connect(url, name=CLIENT_NAME, needs=needs)
    except Refused as error:
        raise Unavailable(f"{error} {NEEDS_ADMIN}") from error
    try:
        yield bus
    except (nats.js.errors.NotFoundError, TimeoutError, nats.errors.TimeoutError) as error:
        raise Unavailable(NO_ANSWER) from error
    finally:
        await bus.close()


async def letters(bus: Bus, wanted: Filter) -> list[Letter]:
    """All dead letters of a filter, oldest first.

    Raises:
        Unavailable: the connection was lost meanwhile.
    """
    start = api.ConsumerConfig(headers_only=True, deliver_policy=api.DeliverPolicy.ALL)
    if wanted.since is not None:
        start = start.evolve(
            deliver_policy=api.DeliverPolicy.BY_START_TIME, opt_start_time=wanted.since
        )
    subscription = await bus.js.subscribe(
        names.DEAD_LETTER_SUBJECTS, stream=names.DLQ, ordered_consumer=True, config=start
    )
    found: list[Letter] = []
    try:
        info = await subscription.consumer_info()
        # Those that are to be sent, and those that were sent before this answer.
        left = (info.num_pending or 0) + (info.delivered.consumer_seq if info.delivered else 0)
        while left:
            message = await subscription.next_msg(timeout=NEXT_WITHIN_S)
            headers, at = message.headers or {}, message.metadata
            letter = Letter(
                number=at.sequence.stream,
                stored_at=at.timestamp,
                subject=message.subject,
                reason=headers.get(REASON, ""),
                size_bytes=int(headers.get(_SIZE, "0")),
            )
            if wanted.accepts(letter):
                found.append(letter)
            left = at.num_pending
    finally:
        await subscription.unsubscribe()
    return found


async def content(bus: Bus, number: int) -> Content | None:
    """One dead letter; None if there is none with this number."""
    try:
        message = await bus.js.get_msg(names.DLQ, number)
    except nats.js.errors.NotFoundError:
        return None
    headers, data = dict(message.headers or {}), message.data or b""
    assert message.time is not None  # noqa: S101  (every stored message has one)
    letter = Letter(number, message.time, message.subject or "", headers.get(REASON, ""), len(data))
    return Content(letter, headers, data)


async def drop(bus: Bus, numbers: Iterable[int]) -> AsyncIterator[tuple[int, bool]]:
    """Erases dead letters; yields each number, and whether it was there."""
    for number in numbers:
        try:
            await bus.js.delete_msg(names.DLQ, number)
        except nats.js.errors.APIError as error:
            if error.err_code not in _NOT_THERE:
                raise
            yield number, False
        else:
            yield number, True
