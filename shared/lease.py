"""A lease: of several processes that may run only one at a time, it says which one runs.

Nothing may depend on it for correctness: a process can be frozen after it has looked. The stored
value decides who holds it, by compare-and-set; `lease_notes` says when a holder counts as gone.
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable
from typing import Final

import nats.js.errors
from nats.js import api
from pydantic import BaseModel, ValidationError

from shared import metrics, names
from shared.bus import Bus
from shared.connection import TRANSIENT
from shared.lease_notes import LeaseNotes
from shared.log import logger
from shared.pulse import now_s
from shared.tasks import end

RENEW_EVERY_S: Final = 2.0
STORED_WITHIN_S: Final = 1.5
"""What was sent just before a leader ended gets no answer, so it is soon sent again."""

RETRY_S: Final = 0.5
CHECK_EVERY_S: Final = 0.25
LOST_AFTER_S: Final = 6.0
"""A holder that could not renew for this long stops if others wait, unless they hear it."""

LOOK_EVERY_S: Final = 1.0

FAILED_LOOKS: Final = 5
_REMEDY: Final = "run `threadwax nats --setup-only` if this NATS was set up by an older version"

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
        self._look_now = asyncio.Event()
        self._notes = LeaseNotes(bus, name, self._own.process, on_news=self._look_now.set)
        self.is_held = False
        self.holder = Holder()
        """The last one that was seen."""

    @property
    def others_wait(self) -> bool:
        """Whether another process has lately asked for the lease."""
        return self._notes.others_wait

    async def acquire(self, *, quiet_s: float = 0.0) -> int:
        """Waits until this process holds the lease; returns the last holder's position.

        For `quiet_s` seconds it does not ask for it, so that the holder counts as alone. From then
        on the others hear that this process lives; call `keep` soon.
        """
        self._notes.begin()
        try:
            return await self._acquired(now_s() + quiet_s)
        except BaseException:
            await self._notes.close()
            raise

    async def keep(self) -> None:
        """Renews the lease; returns when it is lost, also if this process is cut off from NATS."""
        self._notes.begin()
        losing = [asyncio.create_task(self._renew_until_lost()),
                  asyncio.create_task(self._until_unheard())]  # fmt: skip
        try:
            done, _ = await asyncio.wait(losing, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._set_held(held=False)
            await end(*losing)
            await self._notes.close()
        for task in done:
            task.result()
        logger().warning("lease lost", lease=self._name, holder=self.holder.host)

    async def release(self) -> None:
        """Frees the lease, so that the next process starts at once. Best effort."""
        free = Holder(position=self._position())
        with contextlib.suppress(*TRANSIENT):
            if await self._put(free):
                await self._notes.tell_free()
        await self._notes.close()

    # --- waiting --------------------------------------------------------------------------------

    async def _acquired(self, asks_at: float) -> int:
        seen, failed, told = -1, 0, False
        while True:
            self._look_now.clear()
            self._notes.kind = "waiting" if now_s() >= asks_at else "quiet"
            wait_s = LOOK_EVERY_S
            try:
                async with asyncio.timeout(STORED_WITHIN_S):
                    found, revision = await look(self._bus, self._name)
                self._notes.follow(found.process, is_alive=revision != seen)
                seen, self.holder = revision, found
                is_free = found.process == "" or found.place == self._own.place
                if is_free or self._notes.is_silent:
                    wait_s = RETRY_S
                    if await self._take(found, revision):
                        return found.position
                if not told:
                    told = True
                    logger().info("standby", lease=self._name, holder=found.host)
            except TRANSIENT as error:
                failed += 1
                if failed == FAILED_LOOKS:
                    logger().error(
                        "the lease cannot be looked at: retrying", lease=self._name,
                        error=repr(error), remedy=_REMEDY,
                    )  # fmt: skip
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._look_now.wait()

    async def _take(self, found: Holder, revision: int) -> bool:
        self._revision = revision
        async with asyncio.timeout(STORED_WITHIN_S):
            if not await self._put(self._own.model_copy(update={"position": found.position})):
                return False
        self._notes.kind = "held"
        self._set_held(held=True)
        if found.process and found.place != self._own.place:
            logger().warning("lease taken over", lease=self._name, silent=found.host)
        return True

    # --- holding --------------------------------------------------------------------------------

    async def _renew_until_lost(self) -> None:
        wait_s = RENEW_EVERY_S
        while True:
            await asyncio.sleep(wait_s)
            renewed = await self._renew()
            if renewed is False:
                return
            wait_s = RENEW_EVERY_S if renewed else RETRY_S

    async def _until_unheard(self) -> None:
        """Returns when another process that waits may take this one for dead.

        While the streams elect a leader nothing can be renewed; the beats show that both are there.
        """
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            confirmed_at = max(self._renewed_at, self._notes.heard_by_other_at)
            is_doubtful = self._notes.is_cut_off or now_s() - confirmed_at > LOST_AFTER_S
            if self.others_wait and is_doubtful:
                return

    async def _renew(self) -> bool | None:
        """True if it was renewed, False if another process has it, None if NATS does not say."""
        self._own.renewed += 1
        try:
            async with asyncio.timeout(STORED_WITHIN_S):
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
