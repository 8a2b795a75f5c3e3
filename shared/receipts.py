"""What was posted to a platform, so that nothing is posted twice after a crash.

A part is claimed before it is posted and recorded after. A claim without a receipt means: it may
have been posted, so ask the platform. Never deleted here: the bucket's age limit does that.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

import nats.js.errors
from nats.js.kv import KeyValue

from shared.bus import Bus

BUCKET: Final = "RECEIPTS"


class Claim(Enum):
    """What is known of a part before it is posted."""

    NEW = "nobody tried before"
    TRIED = "somebody tried; whether it was posted is not known"


@dataclass(frozen=True, slots=True)
class Posted:
    """The part was posted; this is the platform's id for it."""

    receipt: str


class Receipts:
    """One platform's receipts. Every call goes on until NATS does it."""

    def __init__(self, bus: Bus, platform: str) -> None:
        self._bus = bus
        self._platform = platform
        # Not through `js.key_value`, which reads the stream's state: an adapter with that right
        # could list the keys of the others.
        self._bucket = KeyValue(
            name=BUCKET, stream=f"KV_{BUCKET}", pre=f"$KV.{BUCKET}.", js=bus.js, direct=True
        )

    async def claim(self, key: str) -> Claim | Posted:
        """Claims a part for posting, and says what was known of it."""

        async def once() -> Claim | Posted:
            name = f"{self._platform}.{key}"
            try:
                await self._bucket.create(name, b"")
            except nats.js.errors.KeyWrongLastSequenceError:
                value = (await self._bucket.get(name)).value
                return Posted(value.decode()) if value else Claim.TRIED
            return Claim.NEW

        return await self._bus.until_done(once)

    async def record(self, key: str, receipt: str) -> None:
        """Notes that a claimed part was posted."""

        async def once() -> None:
            await self._bucket.put(f"{self._platform}.{key}", receipt.encode() or b"-")

        await self._bus.until_done(once)
