"""Follows a stream: every message after a position, in order and once, across reconnects.

A position belongs to one history of one stream. It must never be applied to another one: messages
up to it would be skipped, and their senders would wait forever.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NoReturn

import nats.errors
from nats.aio.msg import Msg
from nats.js import api

from shared import names
from shared.bus import Bus
from shared.interruption import Interruption, forever
from shared.log import logger
from shared.pull import Deliver, Pull

INACTIVE_S: Final = 60.0
"""The server removes the consumer of a dead follower after this."""

CATCH_UP_S: Final = 30.0
"""How long a replica that was away may lack messages that the others have."""

LOOK_AGAIN_S: Final = 1.0

OTHER_STREAM: Final = "the stream is another one than before: reading it from its start"
OTHER_HISTORY: Final = "the stream lost its end: reading what was stored since the last message"
GAP: Final = "older messages are gone; some may be of this partition and unread"


@dataclass(frozen=True, slots=True)
class Position:
    """The sequence of the last message that was read; 0 before the first.

    `stream` is when the stream was created, and `stored_at` when the message was stored. They show
    whether the sequence still belongs to the same message. None if they are unknown.
    """

    sequence: int = 0
    stream: datetime | None = None
    stored_at: datetime | None = None


Opened = Callable[[Position, int], None]
"""Called with the position where reading starts, and the stream's last sequence at that moment.

Called again if the stream turns out to be another one, or to have another history.
"""


Pending = Callable[[int], None]
"""Called with the number of messages that are stored and still to be delivered, at each start."""


async def follow(
    bus: Bus,
    stream: str,
    filter_subject: str,
    *,
    after: Position,
    deliver: Deliver,
    opened: Opened | None = None,
    pending: Pending | None = None,
    overwritten: bool = False,
) -> NoReturn:
    """Delivers each message after `after`, in order and once.

    A new stream of the same name is read from its start. A stream that was restored from a backup
    is read from the first message stored after the one at `after`. If the next messages have been
    removed, the gap is reported and skipped. If `deliver` raises, the message is delivered again.

    `overwritten`: newer messages replace older ones on the same subject, as in a key-value bucket.
    Then it is normal that messages are missing, also the one at `after`.
    """
    follower = _Follower(
        bus, stream, filter_subject, after=after, deliver=deliver, opened=opened,
        pending=pending, overwritten=overwritten,
    )  # fmt: skip
    await forever(bus, f"{stream} {filter_subject}", f"stream {stream}", follower.once)


class _Follower:
    """The position of one reader, and whether the server still has the history before it."""

    def __init__(
        self,
        bus: Bus,
        stream: str,
        filter_subject: str,
        *,
        after: Position,
        deliver: Deliver,
        opened: Opened | None,
        pending: Pending | None,
        overwritten: bool,
    ) -> None:
        self._bus = bus
        self._stream = stream
        self._filter_subject = filter_subject
        self._position = after
        self._deliver = deliver
        self._opened = opened
        self._pending = pending
        self._overwritten = overwritten
        self._is_open = False
        self._by_time = False
        """Whether to read by time, because sequences up to the position belong to other messages
        now."""
        self._to_verify = False
        """Whether the first message must be the one at the position."""
        self._consumed = 0
        self._last_sequence = 0
        self._lacking_since: float | None = None
        """Since when the server that reads for us has not had the message at the position."""

    async def once(self, interruption: Interruption) -> None:
        """Reads until the pull becomes stale."""
        info = await self._bus.js.stream_info(self._stream)
        self._last_sequence = info.state.last_seq
        self._choose_start(info)
        consumer = await self._bus.js.add_consumer(self._stream, self._consumer())
        self._consumed = 0
        try:
            if self._to_verify and not consumer.num_pending:
                await self._wait_for_replica(info)
                self._lose_history()
                return
            self._lacking_since = None
            interruption.over()
            if self._pending is not None:
                self._pending((consumer.num_pending or 0) - self._to_verify)
            pull = Pull(self._bus, self._stream, consumer.name, self._take, keep_inbox=False)
            await pull.run(interruption.works)
        finally:
            if self._bus.connected:
                # Nobody waits for the answer: there is none if the consumer's server is down.
                request = names.api_subject(f"CONSUMER.DELETE.{self._stream}.{consumer.name}")
                with contextlib.suppress(nats.errors.Error):  # the server removes it later
                    await self._bus.client.publish(request, reply=self._bus.client.new_inbox())

    async def _wait_for_replica(self, info: api.StreamInfo) -> None:
        """Waits, and raises an error, if the consumer's server may lag behind its cluster."""
        if (info.config.num_replicas or 1) == 1:
            return
        now = asyncio.get_running_loop().time()
        self._lacking_since = now if self._lacking_since is None else self._lacking_since
        if now - self._lacking_since < CATCH_UP_S:
            await asyncio.sleep(LOOK_AGAIN_S)  # each look creates a consumer
            raise nats.errors.Error("the server has not caught up with its cluster")
        self._lacking_since = None

    def _choose_start(self, info: api.StreamInfo) -> None:
        """Decides where to continue, given the state of the stream."""
        at, state = self._position, info.state
        is_other = at.stream is not None and at.stream != info.created
        is_beyond = at.sequence > state.last_seq
        if is_other or (is_beyond and at.stored_at is None):
            if at.sequence:
                self._log(OTHER_STREAM)
            self._by_time = False
            self._open(Position(stream=info.created))
        elif is_beyond and not self._by_time:
            self._lose_history()
        elif at.sequence and at.sequence + 1 < state.first_seq and not self._by_time:
            if not self._overwritten:
                self._log(GAP, first_missing=at.sequence + 1, last_missing=state.first_seq - 1)
            self._open(Position(state.first_seq - 1, info.created))
        elif not self._is_open or at.stream is None:
            self._open(replace(at, stream=info.created))
        self._to_verify = (
            not self._by_time
            and not self._overwritten
            and self._position.stored_at is not None
            and self._position.sequence >= state.first_seq
        )

    def _lose_history(self) -> None:
        self._log(OTHER_HISTORY)
        self._by_time = True
        self._open(self._position)

    def _open(self, position: Position) -> None:
        self._position = position
        self._is_open = True
        if self._opened is not None:
            self._opened(position, self._last_sequence)

    def _log(self, event: str, **details: int) -> None:
        logger().error(
            event, stream=self._stream, filter=self._filter_subject,
            expected_sequence=self._position.sequence, last_sequence=self._last_sequence,
            **details,
        )  # fmt: skip

    def _consumer(self) -> api.ConsumerConfig:
        config = api.ConsumerConfig(
            filter_subject=self._filter_subject,
            ack_policy=api.AckPolicy.NONE,
            inactive_threshold=INACTIVE_S,
            mem_storage=True,
        )
        if self._by_time:
            return config.evolve(
                deliver_policy=api.DeliverPolicy.BY_START_TIME,
                opt_start_time=self._position.stored_at,
            )
        return config.evolve(
            deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
            # Read the last message again to verify that it is still the same.
            opt_start_seq=self._position.sequence + (0 if self._to_verify else 1),
        )

    async def _take(self, message: Msg) -> None:
        metadata = message.metadata
        if metadata.sequence.consumer != self._consumed + 1:
            raise nats.errors.Error("a message was lost on the way")  # it is fetched again
        here = Position(metadata.sequence.stream, self._position.stream, metadata.timestamp)
        if self._to_verify:
            self._to_verify = False
            if here != self._position:
                self._lose_history()
                raise nats.errors.Error("the stream has another history")  # read on from there
            self._consumed += 1
            return
        if not self._by_time or not self._is_known(here):
            await self._deliver(message)
            self._position, self._by_time = here, False
        self._consumed += 1

    def _is_known(self, here: Position) -> bool:
        known = self._position.stored_at
        return known is not None and here.stored_at is not None and here.stored_at <= known
