"""A lease: of several processes that may run only one at a time, it says which one runs.

Nothing may depend on it for correctness: a process can be frozen after it has looked. No clock is
compared with another machine's: silence is counted in looks of one's own that NATS answered.
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable
from typing import Final, Literal

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import api
from pydantic import BaseModel, ValidationError

from shared import metrics, names
from shared.bus import Bus
from shared.connection import TRANSIENT
from shared.log import logger
from shared.pulse import now_s

RENEW_EVERY_S: Final = 2.0
RENEW_WITHIN_S: Final = 1.5
RETRY_S: Final = 0.5
LOST_AFTER_S: Final = 6.0
"""A holder that could not renew for this long stops if others wait, well before they start."""

LOOK_EVERY_S: Final = 1.0
SILENT_LOOKS: Final = 9
"""After this many looks in a row at the same value, its holder is dead, frozen or cut off."""

FAILED_LOOKS: Final = 5
_REMEDY: Final = "run `threadwax nats --setup-only` if this NATS was set up by an older version"

WAITING_FOR_S: Final = 30.0
"""How long a process that waits for the lease is remembered after it was last heard."""

HOLDER: Final = "holder"
"""The key of who holds a lease; the other keys are what its next holder must know."""

_EXPECTED: Final = api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value
_CHANGED: Final = 10071


class Holder(BaseModel):
    """Who holds a lease; `process` is empty if nobody does. `position` is for the next holder."""

    process: str = ""
    place: str = ""
    """The data folder that it runs on: only one process can use one at a time."""
    host: str = ""
    renewed: int = 0
    position: int = 0


class Lease:
    """The wish of one process to hold a lease, and the lease while it does."""

    def __init__(
        self, bus: Bus, name: str, *, place: str, position: Callable[[], int] = lambda: 0
    ) -> None:
        """`place` is unique to this process's locked data folder.

        `position` returns how far this process has come; whoever holds the lease next gets it.
        """
        self._bus = bus
        self._name = name
        self._position = position
        self._subject = names.lease_subject(name, HOLDER)
        self._own = Holder(process=secrets.token_hex(8), place=place, host=socket.gethostname())
        self._revision = 0
        self._renewed_at = 0.0
        self._others_at = float("-inf")
        self._freed = asyncio.Event()
        self.is_held = False
        self.holder = Holder()
        """The last one that was seen."""

    @property
    def others_wait(self) -> bool:
        """Whether another process has lately asked for the lease."""
        return now_s() - self._others_at < WAITING_FOR_S

    async def acquire(self, *, quiet_s: float = 0.0) -> int:
        """Waits until this process holds the lease; returns the last holder's position.

        For `quiet_s` seconds it does not ask for it, so that the holder counts as alone.
        """
        notes = await self._bus.watch(names.lease_notes(self._name), self._hear)
        try:
            return await self._acquired(now_s() + quiet_s)
        finally:
            with contextlib.suppress(nats.errors.Error):
                await notes.unsubscribe()

    async def keep(self) -> None:
        """Renews the lease; returns when it is lost, which may be for want of NATS."""
        notes = await self._bus.watch(names.lease_notes(self._name), self._hear)
        try:
            wait_s = RENEW_EVERY_S
            while True:
                await asyncio.sleep(wait_s)
                if self.others_wait and now_s() - self._renewed_at > LOST_AFTER_S:
                    break  # not even a try: this process may have been frozen
                renewed = await self._renew()
                if renewed is False:
                    break
                wait_s = RENEW_EVERY_S if renewed else RETRY_S
        finally:
            self._set_held(held=False)
            with contextlib.suppress(nats.errors.Error):
                await notes.unsubscribe()
        logger().warning("lease lost", lease=self._name, holder=self.holder.host)

    async def release(self) -> None:
        """Frees the lease, so that the next process starts at once. Best effort."""
        free = Holder(position=self._position())
        with contextlib.suppress(*TRANSIENT):
            if await self._put(free):
                await self._tell("free")

    # --- waiting --------------------------------------------------------------------------------

    async def _acquired(self, asks_at: float) -> int:
        seen, silent, failed, told = -1, 0, 0, False
        while True:
            self._freed.clear()
            try:
                found, revision = await look(self._bus, self._name)
                silent = silent + 1 if revision == seen else 0
                seen, self.holder = revision, found
                is_free = found.process == "" or found.place == self._own.place
                if (is_free or silent >= SILENT_LOOKS) and await self._take(found, revision):
                    return found.position
                if not told:
                    told = True
                    logger().info("standby", lease=self._name, holder=found.host)
                if now_s() >= asks_at:
                    await self._tell("waiting")
            except TRANSIENT as error:
                failed += 1
                if failed == FAILED_LOOKS:
                    logger().error(
                        "the lease cannot be looked at: retrying", lease=self._name,
                        error=repr(error), remedy=_REMEDY,
                    )  # fmt: skip
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._freed.wait()

    async def _take(self, found: Holder, revision: int) -> bool:
        self._revision = revision
        if not await self._put(self._own.model_copy(update={"position": found.position})):
            return False
        self._set_held(held=True)
        if found.process and found.place != self._own.place:
            logger().warning("lease taken over", lease=self._name, silent=found.host)
        return True

    # --- holding --------------------------------------------------------------------------------

    async def _renew(self) -> bool | None:
        """True if it was renewed, False if another process has it, None if NATS does not say."""
        self._own.renewed += 1
        try:
            async with asyncio.timeout(RENEW_WITHIN_S):
                return await self._put(self._own.model_copy(update={"position": self._position()}))
        except TRANSIENT as error:
            logger().debug("lease not renewed", why=repr(error))
            return None

    async def _put(self, value: Holder) -> bool:
        """Stores a value in place of the last one that was seen; False if another one is there."""
        sent_at = now_s()
        headers = {_EXPECTED: str(self._revision)}
        data = value.model_dump_json().encode()
        try:
            ack = await self._bus.js.publish(self._subject, data, headers=headers)
        except nats.js.errors.APIError as error:
            if error.err_code != _CHANGED:
                raise
            found, revision = await look(self._bus, self._name)
            self.holder = found
            if found.process != self._own.process:
                return False
            self._revision = revision  # of our own last value, whose acknowledgement was lost
            return await self._put(value)
        self._revision = ack.seq
        self._renewed_at = sent_at
        return True

    def _set_held(self, *, held: bool) -> None:
        self.is_held = held
        metrics.lease_held.labels(self._name).set(held)

    # --- notes ----------------------------------------------------------------------------------

    async def _hear(self, message: Msg) -> None:
        if message.data == b"free":
            self._freed.set()
        elif message.data == b"waiting":
            self._others_at = now_s()

    async def _tell(self, what: Literal["free", "waiting"]) -> None:
        await self._bus.client.publish(names.lease_notes(self._name), what.encode())


async def look(bus: Bus, name: str) -> tuple[Holder, int]:
    """Who holds a lease, and the revision of that; 0 if nobody ever did.

    Raises:
        nats.errors.Error, TimeoutError: NATS does not say.
    """
    subject = names.lease_subject(name, HOLDER)
    try:
        found = await bus.js.get_last_msg(names.LEASES_STREAM, subject, direct=True)
    except nats.js.errors.NotFoundError:
        return Holder(), 0
    try:
        return Holder.model_validate_json(found.data or b""), found.seq or 0
    except ValidationError:  # another version's, or an operator's: it is taken when it is silent
        return Holder(process="unknown"), found.seq or 0
