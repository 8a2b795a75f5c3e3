"""Stores files that come with a question in pieces on a stream: they are too large for a message.

A blob's name begins with `<platform>-` and is derived from its question, so that a retry stores the
same blob again. Each platform can write only its own blobs; only the dataflow reads them. One
user's files must never fill the store for everybody.
"""

import contextlib
import time
from functools import partial
from typing import Final

import nats.errors
import nats.js.errors
from nats.js import api

from shared import names
from shared.bus import Bus
from shared.connection import TRANSIENT, Unavailable
from shared.publishing import is_full

BLOB_LIMIT_BYTES: Final = 10 << 20
"""The largest file. Platforms allow about as much; base64 adds a third in the model's request."""

PIECE_BYTES: Final = 512 << 10
"""Half of the largest message that the server accepts."""

PIECES_HEADER: Final = "Threadwax-Pieces"


class BlobStoreFull(Exception):
    """The store of files is full, or this user's quota of it: go on without the file."""


async def put_blob(bus: Bus, name: str, data: bytes, *, user: str | None = None) -> None:
    """Stores a file of at most `BLOB_LIMIT_BYTES`; counts it against the quota of `user`, if given.

    Raises:
        Unavailable: NATS cannot store it now; a retry is harmless.
        BlobStoreFull: the store or this user's quota is full; an early retry will not help.
        BadName: the name is not one token that begins with the platform and a hyphen.
    """
    pieces = [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)] or [b""]
    subjects = [names.blob_subject(name, number) for number in range(len(pieces))]
    if user is not None and not bus.blob_quotas.take(user, len(data), time.monotonic()):
        raise BlobStoreFull("the quota of this user for files is used up for now")
    headers = {PIECES_HEADER: str(len(pieces))}
    stored = False
    try:
        # The first piece goes last: it says how many there are, so a half-stored file does not
        # exist.
        for number in reversed(range(len(pieces))):
            await bus.patiently(partial(_put_piece, bus, subjects[number], pieces[number], headers))
        stored = True
    except BlobStoreFull:
        await _empty(bus, subjects[number + 1 :])
        raise
    finally:
        if user is not None and not stored:
            bus.blob_quotas.give_back(user, len(data), time.monotonic())


async def _put_piece(bus: Bus, subject: str, piece: bytes, headers: dict[str, str]) -> None:
    try:
        await bus.js.publish(subject, piece, headers=headers)
    except nats.js.errors.APIError as error:
        if is_full(error):
            raise BlobStoreFull("the store of files is full") from error
        raise Unavailable(f"NATS does not store files now: {error.description}") from error
    except TRANSIENT as error:
        raise Unavailable("NATS does not store files now") from error


async def _empty(bus: Bus, subjects: list[str]) -> None:
    """Empties the stored pieces of a file that did not fit. Best effort: they also expire.

    An adapter is not allowed to delete. But the newest message of a subject replaces the one before
    it, and a full stream accepts a message that is smaller than the one it replaces.
    """
    with contextlib.suppress(*TRANSIENT):
        for subject in subjects:
            await bus.js.publish(subject, b"")


async def _newest(bus: Bus, subject: str) -> api.RawStreamMsg | None:
    # Any server of a cluster answers a direct request, also one that lags; the leader answers the
    # other kind.
    for direct in (True, False):
        with contextlib.suppress(nats.js.errors.NotFoundError):
            return await bus.js.get_last_msg(names.BLOBS, subject, direct=direct)
        if not bus.client.is_clustered:
            break
    return None


class BlobTooLarge(Exception):
    """The file is larger than the caller accepts."""


async def get_blob(
    bus: Bus, name: str, *, at_most_bytes: int = BLOB_LIMIT_BYTES
) -> tuple[bytes, ...] | None:
    """The pieces of a stored file; None if it is gone. Retries while NATS is away.

    Raises:
        BlobTooLarge: it exceeds `at_most_bytes`. The first piece shows that if it is much larger,
            so the whole file is never in memory.
    """

    async def piece(number: int) -> tuple[bytes, int] | None:
        message = await _newest(bus, names.blob_subject(name, number))
        if message is None:
            return None
        count = (message.headers or {}).get(PIECES_HEADER, "")
        return message.data or b"", int(count) if count.isdecimal() else 1

    first = await bus.until_done(partial(piece, 0))
    if first is None:
        return None
    data, count = first
    whole = [data]
    size = len(data)
    for number in range(1, count):
        # All pieces but the last are full.
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
