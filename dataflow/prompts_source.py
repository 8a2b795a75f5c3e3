"""The stored events as a Bytewax source: one partition of the stream a part, resumed by sequence.

What cannot be read is put among the dead letters before anything behind it is taken, so that a
crash in between loses nothing.
"""

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from nats.aio.msg import Msg

from dataflow.io_thread import IoThread
from shared import names
from shared.bus import Bus
from shared.messages import AnyEvent, Reply, Unreadable, event_of
from shared.pull import follow

NOW: Final = datetime.fromtimestamp(0, UTC)
"""A wake time in the past: be asked again at the next step. Without one, Bytewax naps 1 ms."""

BATCH: Final = 2000
"""Sources at different epochs wait for each other, so a backlog is drained in large steps."""

UNREADABLE: Final = "Your message could not be read: {reason}."


@dataclass(frozen=True, slots=True)
class Arrived:
    """An event and whether it was stored before this run, when it may be answered already."""

    event: AnyEvent
    replayed: bool


class PromptsSource(FixedPartitionedSource[tuple[str, Arrived], int]):
    """All partitions of the stream of events."""

    def __init__(self, io: IoThread, bus: Bus) -> None:
        self._io = io
        self._bus = bus

    def list_parts(self) -> list[str]:
        """The partitions' numbers; fixed, since another number would move users."""
        return [str(number) for number in range(names.PARTITIONS)]

    def build_part(
        self, step_id: str, for_part: str, resume_state: int | None
    ) -> "PromptsPartition":
        """The reader of one partition, behind the last sequence of the snapshot."""
        del step_id
        return PromptsPartition(self._io, self._bus, int(for_part), resume_state or 0)


class PromptsPartition(StatefulSourcePartition[tuple[str, Arrived], int]):
    """One partition: filled by the asyncio thread, drained by the worker."""

    def __init__(self, io: IoThread, bus: Bus, partition: int, resume_after: int) -> None:
        self._io = io
        self._bus = bus
        self._seat = io.seat()
        self._queue: deque[tuple[int, str, Arrived]] = deque()
        self._last = resume_after
        self._replayed_up_to = io.call(self._last_stored(), timeout_s=None)
        io.spawn(
            follow(
                bus,
                names.PROMPTS,
                names.stored_prompts(partition),
                after=resume_after,
                deliver=self._take,
            )
        )

    async def _last_stored(self) -> int:
        return await self._bus.last_sequence(names.PROMPTS)

    async def _take(self, message: Msg) -> None:
        sequence = message.metadata.sequence.stream
        try:
            user = names.user_of_stored(message.subject)
            event = event_of(message.data, user)
        except names.BadName as error:
            await self._bury(message, sequence, Unreadable(str(error)))
            return
        except Unreadable as error:
            await self._bury(message, sequence, error)
            return
        self._queue.append((sequence, user, Arrived(event, sequence <= self._replayed_up_to)))
        self._seat.ring()

    async def _bury(self, message: Msg, sequence: int, error: Unreadable) -> None:
        await self._bus.bury(
            subject=message.subject,
            data=message.data,
            reason=error.reason,
            dedupe_id=f"{names.PROMPTS}-{sequence}",
        )
        if (sender := error.sender) is not None:
            reply = Reply(
                prompt_id=sender.id,
                user=sender.user,
                place=sender.place,
                address=sender.address,
                outcome="refused",
                text=UNREADABLE.format(reason=error.reason),
                said_at=sender.said_at,
                answered_at=datetime.now(UTC),
            )
            await self._bus.journal(reply)

    def next_batch(self) -> list[tuple[str, Arrived]]:
        """Events in the order in which they were stored, with their user as key."""
        if self._io.stopping:
            raise StopIteration  # what is queued was not read as far as the snapshot knows
        if not self._queue:
            return []
        count = min(len(self._queue), BATCH)
        taken = [self._queue.popleft() for _ in range(count)]
        self._last = taken[-1][0]
        self._seat.busy()
        return [(user, arrived) for _, user, arrived in taken]

    def next_awake(self) -> datetime:
        """At the next step."""
        return NOW

    def snapshot(self) -> int:
        """The last sequence that the flow has taken."""
        return self._last
