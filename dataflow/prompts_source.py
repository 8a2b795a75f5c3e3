"""The stored events as a Bytewax source: one part per partition of the stream, resumed by position.

A message that cannot be read goes to the dead letters before anything after it is taken, so that a
crash in between loses nothing. It must never stop the messages after it.
"""

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from nats.aio.msg import Msg

from dataflow.io_thread import IoThread
from shared import names
from shared.bus import Bus
from shared.follow import Position, follow
from shared.log import logger
from shared.messages import AnyEvent, Event, Reply, Unreadable, event_of, sender_of

NOW: Final = datetime.fromtimestamp(0, UTC)
"""A wake time in the past: be asked again at the next step. Without one, Bytewax naps 1 ms."""

BATCH: Final = 2000
"""Sources at different epochs wait for each other, so a backlog is drained in large steps."""

UNREADABLE: Final = "Your message could not be read: {reason}."
DEFECT: Final = "this version has a defect that keeps it from reading the message"

Saved = int | dict[str, Any] | None
"""The state of a partition in a snapshot: the fields of a `Position`. Older versions saved only the
sequence."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """An event and whether it was stored before this run, when it may be answered already."""

    event: AnyEvent
    replayed: bool


class PromptsSource(FixedPartitionedSource[tuple[str, Arrived], Saved]):
    """All partitions of the stream of events."""

    def __init__(self, io: IoThread, bus: Bus) -> None:
        self._io = io
        self._bus = bus

    def list_parts(self) -> list[str]:
        """The partitions' numbers; fixed, since another number would move users."""
        return [str(number) for number in range(names.PARTITIONS)]

    def build_part(self, step_id: str, for_part: str, resume_state: Saved) -> "PromptsPartition":
        """The reader of one partition, from the position in the snapshot on. Does not wait."""
        del step_id
        return PromptsPartition(self._io, self._bus, int(for_part), position_of(resume_state))


def position_of(saved: Saved) -> Position:
    """The position in a snapshot of this or an older version."""
    return Position(**saved) if isinstance(saved, dict) else Position(saved or 0)


class PromptsPartition(StatefulSourcePartition[tuple[str, Arrived], Saved]):
    """One partition: filled by the asyncio thread, drained by the worker."""

    def __init__(self, io: IoThread, bus: Bus, partition: int, after: Position) -> None:
        self._io = io
        self._bus = bus
        self._seat = io.seat()
        # Without an event: reading has come this far, and there is nothing to hand over.
        self._queue: deque[tuple[Position, tuple[str, Arrived] | None]] = deque()
        self._position = after
        self._stream: datetime | None = None
        self._replayed_up_to = 0
        io.spawn(
            follow(
                bus,
                names.PROMPTS,
                names.stored_prompts(partition),
                after=after,
                deliver=self._take,
                opened=self._opened,
            )
        )

    def _opened(self, position: Position, last_sequence: int) -> None:
        self._stream = position.stream
        self._replayed_up_to = last_sequence
        self._queue.append((position, None))

    async def _take(self, message: Msg) -> None:
        metadata = message.metadata
        position = Position(metadata.sequence.stream, self._stream, metadata.timestamp)
        try:
            user, event = _read(message)
        except Unreadable as error:
            await self._bury(message, position, error)
            self._queue.append((position, None))
            return
        replayed = position.sequence <= self._replayed_up_to
        self._queue.append((position, (user, Arrived(event, replayed))))
        self._seat.ring()

    async def _bury(self, message: Msg, position: Position, error: Unreadable) -> None:
        created = position.stream.timestamp() if position.stream else 0
        try:
            await self._bus.dead_letter(
                subject=message.subject,
                data=message.data,
                reason=error.reason,
                # Sequences of another stream mean other messages.
                dedupe_id=f"{names.PROMPTS}-{created:.6f}-{position.sequence}",
            )
            if error.sender is not None:
                await self._bus.journal(_refusal(error.sender, error.reason))
        except Exception:  # noqa: BLE001  (those after it must not wait for it; it stays stored)
            logger().exception("an unreadable message was skipped", sequence=position.sequence)

    def next_batch(self) -> list[tuple[str, Arrived]]:
        """Events in the order in which they were stored, with their user as key."""
        if self._io.stopping:
            raise StopIteration  # what is queued was not read as far as the snapshot knows
        if not self._queue:
            return []
        count = min(len(self._queue), BATCH)
        taken = [self._queue.popleft() for _ in range(count)]
        self._position = taken[-1][0]
        self._seat.busy()
        return [arrived for _, arrived in taken if arrived is not None]

    def next_awake(self) -> datetime:
        """At the next step."""
        return NOW

    def snapshot(self) -> Saved:
        """The position of the last event that the flow has taken."""
        position = self._position  # not `asdict`: it copies deeply, at the end of each epoch
        return {name: getattr(position, name) for name in Position.__slots__}


def _read(message: Msg) -> tuple[str, AnyEvent]:
    """A stored message's user and event.

    Raises:
        Unreadable: whatever is wrong with it, even if the defect is ours.
    """
    user = ""
    try:
        user = names.user_of_stored(message.subject)
        return user, event_of(message.data, user)
    except Unreadable:
        raise
    except names.BadName as error:
        raise Unreadable(str(error)) from error
    except Exception as error:
        logger().exception("defect while reading a message", subject=message.subject)
        raise Unreadable(DEFECT, _sender(message.data, user)) from error


def _sender(data: bytes, user: str) -> Event | None:
    try:
        return sender_of(data, user)
    except Exception:  # noqa: BLE001  (the defect may be met here as well)
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
