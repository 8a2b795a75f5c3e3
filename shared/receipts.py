"""Records what was posted to a platform, so that a crash repeats and reorders nothing.

A part is claimed before it is posted and recorded after. A claim without a receipt means that the
part may have been posted, so the platform is asked. The receipt of the first part also says whether
the whole reply is finished. Nothing is deleted here: old receipts expire.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

import nats.js.errors
from nats.js.kv import KeyValue

from shared import names
from shared.bus import Bus

NOTHING_POSTED: Final = "-"
"""The receipt of a reply that was never posted: withdrawn, or a dead letter."""

SHOWN: Final = "+"
"""The receipt of a part if the platform has no id for it, and of all parts of a long reply."""

_FINISHED: Final = "\n"
"""Ends the first part's receipt once the reply is finished. No platform has it in its ids."""


class Claim(Enum):
    """What is known about a part before it is posted."""

    NEW = "nobody tried before"
    TRIED = "somebody tried; whether it was posted is not known"


@dataclass(frozen=True, slots=True)
class Posted:
    """The part was posted; `receipt` is the platform's id for it.

    `finished`: the whole reply is done; only the first part's receipt says so.
    """

    receipt: str
    finished: bool = False


def shown_part(value: bytes) -> bool:
    """Whether the first part's receipt says that people can see the whole reply."""
    receipt = value.decode(errors="replace")
    return receipt.endswith(_FINISHED) and receipt != NOTHING_POSTED + _FINISHED


def is_finished(value: bytes) -> bool:
    """Whether the first part's receipt says that the whole reply is done."""
    return value.decode(errors="replace").endswith(_FINISHED)


class Receipts:
    """The receipts of one platform. Every call retries until NATS does it."""

    def __init__(self, bus: Bus, platform: str) -> None:
        self._bus = bus
        self._platform = platform
        # Not through `js.key_value`, which needs permission to read the stream's state: with that,
        # an
        # adapter could list the keys of others.
        self._bucket = KeyValue(
            name=names.RECEIPTS,
            stream=names.RECEIPTS_STREAM,
            pre=names.RECEIPTS_PREFIX,
            js=bus.js,
            direct=True,
        )

    async def claim(self, key: str) -> Claim | Posted:
        """Claims a part for posting; returns what was known about it."""

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
        """Records that a claimed part was posted; `finished`: its whole reply is done."""
        value = (receipt or SHOWN) + (_FINISHED if finished else "")

        async def once() -> None:
            await self._bucket.put(f"{self._platform}.{key}", value.encode())

        await self._bus.until_done(once)

    async def finish(self, prompt_id: str, first_receipt: str = NOTHING_POSTED) -> None:
        """Records that a reply is done: posted, withdrawn or given up."""
        await self.record(f"{prompt_id}.0", first_receipt, finished=True)

    async def is_finished(self, prompt_id: str) -> bool:
        """Whether any process has recorded that a reply is done."""

        async def once() -> bool:
            try:
                value = (await self._bucket.get(f"{self._platform}.{prompt_id}.0")).value
            except nats.js.errors.KeyNotFoundError:
                return False
            return (value or b"").decode().endswith(_FINISHED)

        return await self._bus.until_done(once)
