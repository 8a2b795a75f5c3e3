"""What NATS says of its streams, the adapters' queues and the dead letters.

Reads only. What the recorder is not allowed to ask must never keep back the rest, and the content
of a dead letter never leaves this process.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Final, NamedTuple, TypeVar

import nats.errors
import nats.js.errors
from nats.js import api

from shared import names
from shared.bus import REASON, Bus
from shared.figures import AdapterQueue, DeadLetter, ServerFigures, StreamSize
from shared.streams import ADAPTERS, filled

T = TypeVar("T")

STREAMS: Final = (names.PROMPTS, names.REPLIES, names.RECEIPTS_STREAM, names.BLOBS, names.DLQ)

ASK_WITHIN_S: Final = 2.0
"""The server does not answer what is not allowed."""

DEAD_LETTERS: Final = 10
"""The newest ones are listed."""

DEAD_LETTERS_TRIED: Final = 50
"""Numbers of messages that are looked up for that: some may be deleted."""


class Lag(NamedTuple):
    """How far the recorder is behind."""

    oldest_s: float
    """Age of the oldest message that it has read, but not written; in seconds."""
    messages: Mapping[str, int]
    """Messages that are not written yet, by stream."""


class ServerView:
    """Asks the server. Call from the asyncio thread."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._dead_at: tuple[int, int] | None = None
        self._dead: tuple[DeadLetter, ...] = ()

    async def figures(self, lag: Lag) -> ServerFigures:
        """What the server says now."""
        streams, adapters, dead_letters = await asyncio.gather(
            _unless_refused(self._streams(lag)),
            _unless_refused(self._adapters()),
            _unless_refused(self._dead_letters()),
        )
        return ServerFigures(
            streams=streams, adapters=adapters, dead_letters=dead_letters,
            recorder_lag_s=lag.oldest_s,
        )  # fmt: skip

    async def _streams(self, lag: Lag) -> tuple[StreamSize, ...]:
        infos = await asyncio.gather(*(self._bus.js.stream_info(name) for name in STREAMS))
        return tuple(
            StreamSize(
                name=name, messages=info.state.messages, size_bytes=info.state.bytes,
                filled=filled(info), not_recorded=lag.messages.get(name),
            )
            for name, info in zip(STREAMS, infos, strict=True)
        )  # fmt: skip

    async def _adapters(self) -> tuple[AdapterQueue, ...]:
        infos = await asyncio.gather(
            *(self._bus.js.consumer_info(names.REPLIES, name) for name in ADAPTERS)
        )
        return tuple(_queue(name, info) for name, info in zip(ADAPTERS, infos, strict=True))

    async def _dead_letters(self) -> tuple[DeadLetter, ...]:
        state = (await self._bus.js.stream_info(names.DLQ)).state
        at = (state.last_seq, state.messages)
        # The server sends whole messages, so they are read again only after a change.
        if at != self._dead_at:
            self._dead = await self._newest_dead_letters(state)
            self._dead_at = at
        return self._dead

    async def _newest_dead_letters(self, state: api.StreamState) -> tuple[DeadLetter, ...]:
        found: list[DeadLetter] = []
        oldest = max(state.first_seq, state.last_seq - DEAD_LETTERS_TRIED + 1, 1)
        for sequence in range(state.last_seq, oldest - 1, -1):
            try:
                message = await self._bus.js.get_msg(names.DLQ, sequence)
            except nats.js.errors.NotFoundError:
                continue
            found.append(_dead_letter(message))
            if len(found) == DEAD_LETTERS:
                break
        return tuple(found)


async def _unless_refused(asked: Awaitable[T]) -> T | None:
    try:
        async with asyncio.timeout(ASK_WITHIN_S):
            return await asked
    except (TimeoutError, nats.errors.Error):
        return None


def _queue(platform: str, info: api.ConsumerInfo) -> AdapterQueue:
    return AdapterQueue(
        platform=platform,
        waiting=info.num_pending or 0,
        in_progress=info.num_ack_pending or 0,
        is_asking=bool(info.num_waiting),
    )


def _dead_letter(message: api.RawStreamMsg) -> DeadLetter:
    assert message.time is not None  # noqa: S101  (every stored message has one)
    return DeadLetter(
        sequence=message.seq or 0,
        subject=message.subject or "",
        stored_at=message.time,
        size_bytes=len(message.data or b""),
        reason=(message.headers or {}).get(REASON, ""),
    )
