"""Keeps a reader of a stream going: tries again after every interruption, and reports it once.

It must never give up, nor fill the log while it tries.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import nats.errors
import nats.js.errors

from shared.bus import Bus
from shared.log import logger

RETRY_S: Final = 0.2
MISSING_RETRY_S: Final = 1.0
"""How often a missing stream or consumer is looked for."""

SURE_AFTER_S: Final = 12.0
"""A reader works if it has not failed for this long: a pull without an answer fails sooner."""

REFUSED_FROM: Final = 2
"""Failures in a row after which the server counts as refusing. Single ones are normal."""

REMEDY: Final = (
    "run `threadwax nats --setup-only` with NATS_URL of a user that may create streams, or restart "
    "the embedded server; reading then continues by itself"
)


class Interruption:
    """An interruption of one reader, reported once when it begins and once when it is over."""

    def __init__(self, bus: Bus, what: str, source: str) -> None:
        self._bus = bus
        self._what = what
        self._source = source
        self._reported = False
        self._missing = False
        self._failures = 0
        self._since: float | None = None
        self._is_refused = False
        self._sure: asyncio.TimerHandle | None = None

    def over(self) -> None:
        """Reading continues, unless it fails again within `SURE_AFTER_S`."""
        if self._missing:
            self._missing = False
            self._bus.missing[self._source] -= 1
            if not self._bus.missing[self._source]:
                logger().warning("available again: reading continues", what=self._source)
        if not self._failures:
            self._reported = False
        elif self._sure is None:
            loop = asyncio.get_running_loop()
            self._sure = loop.call_later(SURE_AFTER_S, self._end_failures)

    def works(self) -> None:
        """The server delivers. `/readyz` says so at once, the log only after that has lasted."""
        if self._is_refused:
            self._is_refused = False
            self._bus.interrupted[self._source] -= 1

    def missing(self, error: Exception) -> None:
        """The stream or the consumer does not exist; only a person can restore it."""
        self._end_failures()
        if self._missing:
            return
        self._missing = True
        self._bus.missing[self._source] += 1
        if self._bus.missing[self._source] == 1:  # not once per partition
            logger().error(
                "cannot read: it does not exist", what=self._source, error=str(error), remedy=REMEDY
            )

    def temporary(self, error: Exception) -> None:
        """The server refuses or does not answer. The connection itself reports when it is lost.

        In a cluster it counts only if it lasts longer than an election.
        """
        if not self._bus.connected:
            return
        if self._sure is not None:
            self._sure.cancel()
            self._sure = None
        now = asyncio.get_running_loop().time()
        self._since = now if self._since is None else self._since
        self._failures += 1
        if now - self._since < self._bus.settles_in_s:
            return
        if not self._reported:
            logger().warning("cannot read now: retrying", what=self._what, error=str(error))
            self._reported = True
        if self._failures >= REFUSED_FROM and not self._is_refused:
            self._is_refused = True
            self._bus.interrupted[self._source] += 1

    def defect(self) -> None:
        """A message could not be delivered. Call this in an exception handler."""
        if not self._reported:
            logger().exception("message not delivered", what=self._what)
        self._reported = True

    def _end_failures(self) -> None:
        if self._sure is not None:
            self._sure.cancel()
            self._sure = None
        self.works()
        self._failures = 0
        self._since = None
        self._reported = False


Once = Callable[[Interruption], Awaitable[None]]
"""Reads until it has to be called again; calls `Interruption.over` as soon as it reads."""


async def forever(bus: Bus, what: str, source: str, once: Once) -> NoReturn:
    """Calls `once` again whenever it returns or fails.

    In the log, `what` is this reader and `source` is the stream or consumer that it reads.
    """
    interruption = Interruption(bus, what, source)
    while True:
        wait_s = RETRY_S
        try:
            await once(interruption)
        except nats.js.errors.NotFoundError as error:
            interruption.missing(error)
            wait_s = MISSING_RETRY_S
        except (nats.errors.Error, TimeoutError, OSError) as error:
            interruption.temporary(error)
        except Exception:  # noqa: BLE001  (a defect must not stop the reader)
            interruption.defect()
        await asyncio.sleep(wait_s)
