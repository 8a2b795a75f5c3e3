"""The stored events as a Bytewax source: one reader per partition, resumed at its position.

An unreadable message is stored as a dead letter before the next message is taken, so that a crash
loses nothing. It must never stop the messages after it.
"""

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from nats.aio.msg import Msg

from dataflow.io_thread import IoThread
from shared import names
from shared.bus import Bus
from shared.event_parsing import Unreadable, event_of, sender_of
from shared.follow import Position, follow
from shared.log import logger
from shared.messages import AnyEvent, Event, Reply

NOW: Final = datetime.fromtimestamp(0, UTC)
"""A time in the past: Bytewax calls again at the next step. Without one it would sleep for 1 ms."""

BATCH: Final = 2000
"""A backlog is drained in large steps, because sources at different epochs wait for each other."""

UNREADABLE: Final = "Your message could not be read: {reason}."
DEFECT: Final = "this version has a defect that keeps it from reading the message"

Snapshot = int | dict[str, Any] | None
"""The fields of a `Position`. Older versions stored only the sequence."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """An event from the stream."""

    event: AnyEvent
    replayed: bool
    """Whether it was stored before this run, so that its reply may be in the journal already."""


class PromptsSource(FixedPartitionedSource[tuple[str, Arrived], Snapshot]):
    """All partitions of the stream of events."""

    def __init__(self, io: IoThread, bus: Bus) -> None:
        self._io = io
        self._bus = bus

    def list_parts(self) -> list[str]:
        """The numbers of the partitions. They are fixed, because any change would move users."""
        return [str(number) for number in range(names.PARTITIONS)]

    def build_part(self, step_id: str, for_part: str, resume_state: Snapshot) -> "PromptsPartition":
        """The reader of one partition, from the position in the snapshot. Does not wait."""
        del step_id
        return PromptsPartition(self._io, self._bus, int(for_part), position_of(resume_state))


def position_of(snapshot: Snapshot) -> Position:
    """The position in a snapshot of this or an older version."""
    return Position(**snapshot) if isinstance(snapshot, dict) else Position(snapshot or 0)


class _Read(NamedTuple):
    """A position in the partition, and the event there if there is one to hand over."""

    position: Position
    arrived: tuple[str, Arrived] | None = None


class PromptsPartition(StatefulSourcePartition[tuple[str, Arrived], Snapshot]):
    """One partition, filled by the asyncio thread and drained by the worker."""

    def __init__(self, io: IoThread, bus: Bus, partition: int, after: Position) -> None:
        self._io = io
        self._bus = bus
        self._inbox = io.inbox()
        self._queue: deque[_Read] = deque()
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
        self._queue.append(_Read(position))

    async def _take(self, message: Msg) -> None:
        metadata = message.metadata
        position = Position(metadata.sequence.stream, self._stream, metadata.timestamp)
        try:
            user, event = _read(message)
        except Unreadable as error:
            await self._bury(message, position, error)
            self._queue.append(_Read(position))
            return
        replayed = position.sequence <= self._replayed_up_to
        self._queue.append(_Read(position, (user, Arrived(event, replayed))))
        self._inbox.wake()

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

    def next_batch(self) -> list[tuple[str, Arrived]]:
        """Events in the order in which they were stored, with their user as key."""
        if self._io.stopping:
            raise StopIteration  # queued events are read again, by the position in the snapshot
        if not self._queue:
            return []
        count = min(len(self._queue), BATCH)
        taken = [self._queue.popleft() for _ in range(count)]
        self._position = taken[-1].position
        self._inbox.stay_awake()
        return [read.arrived for read in taken if read.arrived is not None]

    def next_awake(self) -> datetime:
        """At the next step."""
        return NOW

    def snapshot(self) -> Snapshot:
        """The position of the last event that the dataflow has taken."""
        position = self._position  # `asdict` would make deep copies at the end of each epoch
        return {name: getattr(position, name) for name in Position.__slots__}


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
    except names.BadName as error:
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
