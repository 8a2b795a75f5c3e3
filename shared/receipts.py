"""What was posted to a platform, so that nothing is posted twice or out of order after a crash.

A part is claimed before it is posted and recorded after. A claim without a receipt means: it may
have been posted, so ask the platform. The receipt of the first part also says when the whole reply
is finished. Nothing is deleted here: the bucket's age limit does that.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

import nats.js.errors
from nats.js.kv import KeyValue

from shared import names
from shared.bus import Bus

NOTHING: Final = "-"
"""The receipt of a reply of which nothing was posted: withdrawn, or a dead letter."""

_FINISHED: Final = "\n"
"""Ends the first part's receipt once the reply is finished. It is in no platform's ids."""


class Claim(Enum):
    """What is known of a part before it is posted."""

    NEW = "nobody tried before"
    TRIED = "somebody tried; whether it was posted is not known"


@dataclass(frozen=True, slots=True)
class Posted:
    """The part was posted; `receipt` is the platform's id for it.

    `finished`, of a first part: nothing of the whole reply is left to do.
    """

    receipt: str
    finished: bool = False


class Receipts:
    """One platform's receipts. Every call goes on until NATS does it."""

    def __init__(self, bus: Bus, platform: str) -> None:
        self._bus = bus
        self._platform = platform
        # Not through `js.key_value`, which reads the stream's state: an adapter with that right
        # could list the keys of the others.
        self._bucket = KeyValue(
            name=names.RECEIPTS,
            stream=names.RECEIPTS_STREAM,
            pre=names.RECEIPTS_PREFIX,
            js=bus.js,
            direct=True,
        )

    async def claim(self, key: str) -> Claim | Posted:
        """Claims a part for posting, and says what was known of it."""

        async def once() -> Claim | Posted:
            name = f"{self._platform}.{key}"
            try:
                await self._bucket.create(name, b"")
            except nats.js.errors.KeyWrongLastSequenceError:
                value = ((await self._bucket.get(name)).value or b"").decode()
                receipt = value.removesuffix(_FINISHED)
                return Posted(receipt, value.endswith(_FINISHED)) if receipt else Claim.TRIED
            return Claim.NEW

        return await self._bus.until_done(once)

    async def record(self, key: str, receipt: str, *, finished: bool = False) -> None:
        """Notes that a claimed part was posted; `finished`: it was all of its reply."""
        value = (receipt or NOTHING) + (_FINISHED if finished else "")

        async def once() -> None:
            await self._bucket.put(f"{self._platform}.{key}", value.encode())

        await self._bus.until_done(once)

    async def finish(self, prompt_id: str, first_receipt: str = NOTHING) -> None:
        """Notes that nothing of a reply is left to do: it was posted, withdrawn or given up."""
        await self.record(f"{prompt_id}.0", first_receipt, finished=True)

    async def is_finished(self, prompt_id: str) -> bool:
        """Whether `finish` was noted for a reply, by whichever process."""

        async def once() -> bool:
            try:
                value = (await self._bucket.get(f"{self._platform}.{prompt_id}.0")).value
            except nats.js.errors.KeyNotFoundError:
                return False
            return (value or b"").decode().endswith(_FINISHED)

        return await self._bus.until_done(once)
