"""Files that come with a question, in pieces on a stream: too large for a message.

A blob is named `<platform>-...` after its question and its place in it, so that a repeat stores the
same again. A platform can write its own only, and nobody but the dataflow needs to read them. One
user's files must never take the room of everybody's.
"""

import contextlib
import time
from functools import partial
from typing import Final

import nats.errors
import nats.js.errors

from shared import names
from shared.bus import Bus
from shared.connection import TRANSIENT, Unavailable
from shared.publishing import is_full

BLOB_LIMIT_BYTES: Final = 10 << 20
"""One file; platforms take about as much, and a model's request grows by a third of it more."""

PIECE_BYTES: Final = 512 << 10
"""Half of what the server takes in one message."""

PIECES_HEADER: Final = "Threadwax-Pieces"


class BlobStoreFull(Exception):
    """The store of files is full, for everybody or for this user: go on without the file."""


async def put_blob(bus: Bus, name: str, data: bytes, *, user: str | None = None) -> None:
    """Stores a file of at most `BLOB_LIMIT_BYTES`.

    It uses the share of `user`; without one, only the room of the whole store limits it.

    Raises:
        Unavailable: NATS cannot store it now; a repeat is harmless.
        BlobStoreFull: the store is full, or this user's share of it; a repeat soon will not help.
        BadName: the name is not one token that begins with the platform and a hyphen.
    """
    pieces = [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)] or [b""]
    subjects = [names.blob_subject(name, number) for number in range(len(pieces))]
    if user is not None and not bus.blob_quotas.take(user, len(data), time.monotonic()):
        raise BlobStoreFull("this user has stored as many files as one user may for now")
    headers = {PIECES_HEADER: str(len(pieces))}
    stored = False
    try:
        # The first piece last: it says how many there are, so a half-stored file is no file.
        for number in reversed(range(len(pieces))):
            await bus.js.publish(subjects[number], pieces[number], headers=headers)
        stored = True
    except nats.js.errors.APIError as error:
        if not is_full(error):
            raise Unavailable(f"NATS does not store files now: {error.description}") from error
        await _take_back(bus, subjects[number + 1 :])
        raise BlobStoreFull("the store of files is full") from error
    except TRANSIENT as error:
        raise Unavailable("NATS does not store files now") from error
    finally:
        if user is not None and not stored:
            bus.blob_quotas.give_back(user, len(data), time.monotonic())


async def _take_back(bus: Bus, subjects: list[str]) -> None:
    """Empties the pieces of a file that found no room. Best effort: the stream's age limit helps.

    An adapter may not delete; but the newest message of a subject replaces the one before it, and
    a full stream takes one that is smaller than what it replaces.
    """
    with contextlib.suppress(*TRANSIENT):
        for subject in subjects:
            await bus.js.publish(subject, b"")


class BlobTooLarge(Exception):
    """The file is larger than the caller has room for."""


async def get_blob(
    bus: Bus, name: str, *, at_most_bytes: int = BLOB_LIMIT_BYTES
) -> tuple[bytes, ...] | None:
    """A stored file in its pieces; None when it is gone. Goes on trying while NATS is away.

    Raises:
        BlobTooLarge: it takes more than `at_most_bytes`. Seen from the first piece if it takes much
            more, and never held as a whole.
    """

    async def piece(number: int) -> tuple[bytes, int] | None:
        try:
            message = await bus.js.get_last_msg(
                names.BLOBS, names.blob_subject(name, number), direct=True
            )
        except nats.js.errors.NotFoundError:
            return None
        told = (message.headers or {}).get(PIECES_HEADER, "")
        return message.data or b"", int(told) if told.isdecimal() else 1

    first = await bus.until_done(partial(piece, 0))
    if first is None:
        return None
    data, count = first
    whole = [data]
    size = len(data)
    for number in range(1, count):
        # All but the last piece are full.
        if max(size, (count - 1) * PIECE_BYTES) > at_most_bytes:
            raise BlobTooLarge
        more = await bus.until_done(partial(piece, number))
        if more is None:
            return None
        whole.append(more[0])
        size += len(more[0])
    if size > at_most_bytes:
        raise BlobTooLarge
    return tuple(whole)
