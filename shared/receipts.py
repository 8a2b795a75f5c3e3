"""Records what was posted to a platform, so that a crash repeats and reorders nothing.

A part is claimed before it is posted and recorded after. A claim without a receipt means that the
part may have been posted, so the platform is asked. The receipt of the first part also says whether
the whole reply is finished. Nothing is deleted here: old receipts expire.
"""

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import nats.errors
import nats.js.errors
from nats.js import api
from nats.js.kv import KeyValue

from shared import names
from shared.bus import Bus

NOTHING_POSTED: Final = "-"
"""The receipt of a reply that was never posted: withdrawn, or a dead letter."""

SHOWN: Final = "+"
"""The receipt of a part if the platform has no id for it, and of all parts of a long reply."""

_LAST_SEQUENCE: Final = re.compile(r"wrong last sequence: (\d+)")

_FINISHED: Final = "\n"
"""Ends the first part's receipt once the reply is finished. No platform has it in its ids."""

_OWNER: Final = "Threadwax-Process"
"""The header of a claim that says whose it is. Not in the value, which older versions read."""

_EXPECTED: Final = api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value
_CHANGED: Final = 10071
"""The server's code if a value is another one than expected."""


class Claim(Enum):
    """What is known about a part before it is posted."""

    NEW = "nobody tried before"
    TRIED = "somebody tried; whether it was posted is not known"


@dataclass(frozen=True, slots=True)
class Posted:
    """The part was posted; `receipt` is the platform's id for it.

    `finished`: the whole reply is done; only the first part's receipt says so. `revision` is needed
    to claim it anew.
    """

    receipt: str
    finished: bool = False
    revision: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Held:
    """Another process has claimed the part; `revision` is needed to take its claim."""

    owner: str
    revision: int


def shown_part(value: bytes) -> bool:
    """Whether the first part's receipt says that people can see the whole reply."""
    receipt = value.decode(errors="replace")
    return receipt.endswith(_FINISHED) and receipt != NOTHING_POSTED + _FINISHED


def is_finished(value: bytes) -> bool:
    """Whether the first part's receipt says that the whole reply is done."""
    return value.decode(errors="replace").endswith(_FINISHED)


class Receipts:
    """The receipts of one platform. Every call retries until NATS does it."""

    def __init__(self, bus: Bus, platform: str, *, owner: str = "") -> None:
        """`owner` names this process in its claims, if there are others of its platform."""
        self._bus = bus
        self._platform = platform
        self._owner = owner
        # Not through `js.key_value`, which needs permission to read the stream's state: with that,
        # an adapter could list the keys of others.
        self._bucket = KeyValue(
            name=names.RECEIPTS,
            stream=names.RECEIPTS_STREAM,
            pre=names.RECEIPTS_PREFIX,
            js=bus.js,
            direct=True,
        )

    async def claim(self, key: str) -> Claim | Posted | Held:
        """Claims a part for posting; returns what was known about it."""

        async def once() -> Claim | Posted | Held:
            newest = await self._put_claim(key, revision=0)
            return Claim.NEW if newest is None else await self._known(key, at_least=newest)

        return await self._bus.until_done(once)

    async def take_over(self, key: str, found: Held | Posted) -> Claim | Posted | Held:
        """Claims what another process holds or has posted, unless it has changed meanwhile."""

        async def once() -> Claim | Posted | Held:
            newest = await self._put_claim(key, revision=found.revision)
            return Claim.TRIED if newest is None else await self._known(key, at_least=newest)

        return await self._bus.until_done(once)

    async def is_mine(self, key: str) -> bool:
        """Whether a part that this process has claimed is still its own, and not posted."""

        async def once() -> bool:
            try:
                found = await self._read(key)
            except nats.js.errors.NotFoundError:
                return False  # erased, or taken from the bucket for another reason
            if self._meaning(found) is not Claim.TRIED:
                return False
            # A server that lags may have said so: only the leader knows.
            if await self._put_claim(key, revision=found.seq or 0) is not None:
                raise nats.errors.Error("the claim has changed")
            return True

        return await self._bus.until_done(once)

    async def _put_claim(self, key: str, *, revision: int) -> int | None:
        """Stores a claim if the last value is still that of `revision`, 0 for none.

        Otherwise returns the sequence of the last value, which the leader names.
        """
        headers = {_EXPECTED: str(revision)}
        if self._owner:
            headers[_OWNER] = self._owner
        try:
            await self._bus.js.publish(self._subject(key), b"", headers=headers)
        except nats.js.errors.APIError as error:
            if error.err_code != _CHANGED:
                raise
            named = _LAST_SEQUENCE.search(error.description or "")
            if named is None:
                raise nats.errors.Error("another write is in progress") from error
            return int(named[1])
        return None

    async def _known(self, key: str, *, at_least: int) -> Claim | Posted | Held:
        """What the value says, if it is not older than this sequence.

        Reads are answered by any server of a cluster, also by one that lags.

        Raises:
            nats.errors.Error: it is older.
        """
        found = await self._read(key)
        if (found.seq or 0) < at_least:
            raise nats.errors.Error("a replica lags")
        return self._meaning(found)

    async def _read(self, key: str) -> api.RawStreamMsg:
        subject = self._subject(key)
        return await self._bus.js.get_last_msg(names.RECEIPTS_STREAM, subject, direct=True)

    def _meaning(self, found: api.RawStreamMsg) -> Claim | Posted | Held:
        value = (found.data or b"").decode()
        if receipt := value.removesuffix(_FINISHED):
            return Posted(receipt, value.endswith(_FINISHED), found.seq or 0)
        owner = (found.headers or {}).get(_OWNER, "")
        if owner in {"", self._owner}:
            return Claim.TRIED
        return Held(owner, found.seq or 0)

    def _subject(self, key: str) -> str:
        return f"{names.RECEIPTS_PREFIX}{self._platform}.{key}"

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
