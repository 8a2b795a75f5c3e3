"""Requests to the recorder, whose answers come in pieces.

Nothing is stored on the way over core NATS. An answer with a missing piece must never look whole.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

import nats.errors
from nats.aio.msg import Msg
from nats.errors import NoRespondersError

from shared.bus import Bus
from shared.connection import Unavailable

ANSWER_BYTES: Final = 8 << 20
"""The largest answer."""

PIECE_BYTES: Final = 512 << 10
"""The server takes messages up to 1 MB."""

PIECES_LIMIT: Final = ANSWER_BYTES // PIECE_BYTES + 1

WITHIN_S: Final = 30.0

PIECE: Final = "Threadwax-Piece"
"""The header of a piece: its number, counted from 1, and the number of pieces: `2/5`."""

BUSY: Final = "busy"
"""In place of the numbers: the recorder has too many requests, or its database is away."""

QUEUE: Final = "recorder"


class NotNow(Unavailable):
    """The recorder does not run, or is busy: the person can try again later."""


def pieces_of(data: bytes) -> Iterator[tuple[str, bytes]]:
    """An answer in pieces, each with its header; an empty answer is one empty piece."""
    count = max(1, -(-len(data) // PIECE_BYTES))
    for number in range(count):
        yield f"{number + 1}/{count}", data[number * PIECE_BYTES : (number + 1) * PIECE_BYTES]


async def requested(bus: Bus, subject: str, body: bytes, *, within_s: float = WITHIN_S) -> bytes:
    """The recorder's answer to a request.

    Raises:
        NotNow: there is none now.
    """
    arrived: asyncio.Queue[Msg] = asyncio.Queue(PIECES_LIMIT)

    async def take(message: Msg) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            arrived.put_nowait(message)

    inbox = bus.client.new_inbox()
    subscription = await bus.client.subscribe(inbox, cb=take)
    try:
        async with asyncio.timeout(within_s):
            await bus.client.publish(subject, body, reply=inbox)
            return await _collected(arrived)
    except (TimeoutError, nats.errors.Error, ValueError) as error:
        raise NotNow(f"the recorder does not answer: {type(error).__name__}") from error
    finally:
        with contextlib.suppress(nats.errors.Error):
            await subscription.unsubscribe()


async def _collected(arrived: "asyncio.Queue[Msg]") -> bytes:
    """Puts the pieces together.

    Raises:
        NoRespondersError: no recorder runs.
        ValueError: it is busy, or not the answer of a recorder.
    """
    pieces: dict[int, bytes] = {}
    while True:
        message = await arrived.get()
        headers = message.headers or {}
        if headers.get("Status") == "503":
            raise NoRespondersError
        number, _, count = headers.get(PIECE, "").partition("/")
        pieces[int(number)] = message.data
        if len(pieces) == int(count):
            return b"".join(pieces[n] for n in sorted(pieces))
