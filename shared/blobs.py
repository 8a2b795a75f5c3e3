"""Files that come with a question, in the object store: too large for a message.

A blob is named by its question and its place in it, so that a repeat overwrites the same bytes.
"""

from typing import Final

import nats.errors
import nats.js.errors

from shared.bus import Bus, Unavailable
from shared.streams import BLOBS

BLOB_LIMIT_BYTES: Final = 10 << 20
"""One file; platforms take about as much, and a model's request grows by a third of it more."""


async def put_blob(bus: Bus, name: str, data: bytes) -> None:
    """Stores a file.

    Raises:
        Unavailable: NATS cannot store it now; a repeat is harmless.
    """
    try:
        store = await bus.js.object_store(BLOBS)
        await store.put(name, data)
    except (nats.errors.Error, TimeoutError, OSError) as error:
        raise Unavailable("NATS does not store files now") from error


async def blob(bus: Bus, name: str) -> bytes | None:
    """A stored file; None when it is gone. Goes on trying while NATS is away."""

    async def once() -> bytes | None:
        try:
            return (await (await bus.js.object_store(BLOBS)).get(name)).data
        except (nats.js.errors.ObjectNotFoundError, nats.js.errors.NotFoundError):
            return None

    return await bus.until_done(once)
