"""A person's own data as a file: an adapter requests it from the recorder over core NATS.

Nothing is stored on the way. An adapter may ask only for people of its own platform: the server's
permissions see to that.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import nats.errors
from nats.aio.msg import Msg
from nats.errors import NoRespondersError

from shared import names
from shared.bus import Bus
from shared.connection import Unavailable

LIMIT_BYTES: Final = 8 << 20
"""The largest file: Discord takes 10 MiB from a bot."""

HISTORY_LIMIT: Final = 20_000
"""The most questions in it."""

PIECE_BYTES: Final = 512 << 10
"""The server takes messages up to 1 MB."""

PIECES_LIMIT: Final = LIMIT_BYTES // PIECE_BYTES + 1

WITHIN_S: Final = 30.0

PIECE: Final = "Threadwax-Piece"
"""The header of a piece: its number, counted from 1, and the number of pieces: `2/5`."""

BUSY: Final = "busy"
"""In place of the numbers: the recorder has too many requests, or its database is away."""

QUEUE: Final = "recorder"


class NotNow(Unavailable):
    """The recorder does not run, or is busy: the person can try again later."""


def file_name(now: datetime) -> str:
    """What the file is called."""
    return f"threadwax-{now:%Y-%m-%d-%H%M%S}.md"


def pieces_of(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The file in pieces, each with its header; an empty file is one empty piece."""
    count = max(1, -(-len(data) // PIECE_BYTES))
    for number in range(count):
        yield f"{number + 1}/{count}", data[number * PIECE_BYTES : (number + 1) * PIECE_BYTES]


async def own_history(bus: Bus, user: str, *, within_s: float = WITHIN_S) -> bytes:
    """What the recorder has of a user, as Markdown in UTF-8; empty if it has nothing.

    Raises:
        NotNow: it cannot be read now.
    """
    arrived: asyncio.Queue[Msg] = asyncio.Queue(PIECES_LIMIT)

    async def take(message: Msg) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            arrived.put_nowait(message)

    inbox = bus.client.new_inbox()
    subscription = await bus.client.subscribe(inbox, cb=take)
    try:
        async with asyncio.timeout(within_s):
            await bus.client.publish(names.history_subject(user), b"", reply=inbox)
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
