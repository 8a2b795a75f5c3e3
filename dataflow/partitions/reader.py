"""Reads the stored events of one partition, and moves what cannot be read to the dead letters.

An unreadable message is stored as a dead letter before the next message is taken, so that a crash
loses nothing. It must never stop the messages after it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NoReturn

from nats.aio.msg import Msg

from dataflow.heard import Arrived
from shared import names, tracing, user_names
from shared.bus import Bus
from shared.event_parsing import Unreadable, event_of, sender_of
from shared.follow import Position, follow
from shared.log import logger
from shared.messages import AnyEvent, Event
from shared.replies import Reply

UNREADABLE: Final = "Your message could not be read: {reason}."
DEFECT: Final = "this version has a defect that keeps it from reading the message"


@dataclass(frozen=True, slots=True)
class Read:
    """A position in the partition, and the event there if there is one to hand over."""

    position: Position
    user: str = ""
    arrived: Arrived | None = None


FULL: Final = 4000
"""Events of a partition that wait for the worker; then reading pauses."""

PAUSE_S: Final = 0.02


async def read(
    bus: Bus, partition: int, after: Position, events: deque[Read], wake: Callable[[], None]
) -> NoReturn:
    """Appends what comes after a position to `events`, in order, until it is cancelled."""
    reader = _Reader(bus, events, wake)
    await follow(
        bus, names.PROMPTS, names.stored_prompts(partition), after=after,
        deliver=reader.deliver, opened=reader.opened,
    )  # fmt: skip


class _Reader:
    def __init__(self, bus: Bus, events: deque[Read], wake: Callable[[], None]) -> None:
        self._bus = bus
        self._events = events
        self._wake = wake
        self._stream: datetime | None = None
        self._replayed_up_to = 0

    def opened(self, position: Position, last_sequence: int) -> None:
        self._stream = position.stream
        self._replayed_up_to = last_sequence
        self._take(Read(position))

    def _take(self, taken: Read) -> None:
        self._events.append(taken)
        self._wake()

    async def deliver(self, message: Msg) -> None:
        while len(self._events) >= FULL:  # noqa: ASYNC110  (the worker's thread makes room)
            await asyncio.sleep(PAUSE_S)
        metadata = message.metadata
        position = Position(metadata.sequence.stream, self._stream, metadata.timestamp)
        try:
            user, event = _read(message)
        except Unreadable as error:
            await self._bury(message, position, error)
            self._take(Read(position))
            return
        replayed = position.sequence <= self._replayed_up_to
        tracing.read(event, metadata.timestamp, replayed=replayed)
        self._take(Read(position, user, Arrived(event, replayed)))

    async def _bury(self, message: Msg, position: Position, error: Unreadable) -> None:
        created = position.stream.timestamp() if position.stream else 0
        try:
            await self._bus.dead_letter(
                subject=message.subject,
                data=message.data,
                reason=error.reason,
                # Another stream uses the same sequences for other messages.
                dedupe_id=f"{names.PROMPTS}-{created:.6f}-{position.sequence}",
            )
            if error.sender is not None:
                await self._bus.journal(_refusal(error.sender, error.reason))
        except Exception:  # noqa: BLE001  (it stays stored, and the next messages must not wait)
            logger().exception("an unreadable message was skipped", sequence=position.sequence)


def _read(message: Msg) -> tuple[str, AnyEvent]:
    """The user and the event of a stored message.

    Raises:
        Unreadable: for any reason, including a defect of ours.
    """
    user = ""
    try:
        user = names.user_of_stored(message.subject)
        return user, event_of(message.data, user)
    except Unreadable:
        raise
    except user_names.BadName as error:
        raise Unreadable(str(error)) from error
    except Exception as error:
        logger().exception("defect while reading a message", subject=message.subject)
        raise Unreadable(DEFECT, _sender(message.data, user)) from error


def _sender(data: bytes, user: str) -> Event | None:
    try:
        return sender_of(data, user)
    except Exception:  # noqa: BLE001  (the same defect may be met here)
        return None


def _refusal(sender: Event, reason: str) -> Reply:
    return Reply(
        prompt_id=sender.id,
        user=sender.user,
        place=sender.place,
        address=sender.address,
        outcome="refused",
        text=UNREADABLE.format(reason=reason),
        said_at=sender.said_at,
        answered_at=datetime.now(UTC),
    )
