"""Says whether this process is alive for others: whether its own beats come back from NATS.

A process that was frozen, or cut off from NATS, does not notice: its next line of code simply runs.
Others may have taken its work meanwhile. It must compare no clock with another machine's.
"""

import asyncio
import contextlib
import time
from typing import Final

import nats.errors
from nats.aio.msg import Msg

from shared.bus import Bus

BEAT_S: Final = 0.5
FRESH_S: Final = 1.5
"""Three beats. Whoever waits for this process gives up much later."""

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""On Linux, one that also runs while the machine sleeps."""


def now_s() -> float:
    """Seconds since some fixed moment, which go on during sleep where the system can say so."""
    return time.clock_gettime(_CLOCK)


class Pulse:
    """The beats of one process. A `gap` is a time in which others may have acted for it."""

    def __init__(self, bus: Bus, subject: str) -> None:
        """`subject` belongs to this process alone."""
        self._bus = bus
        self._subject = subject
        self._beat_at = now_s()
        self._heard_at = self._beat_at
        self._heard = asyncio.Event()
        self.gaps = 0

    async def run(self) -> None:
        """Beats until it is cancelled."""
        beats = await self._bus.watch(self._subject, self._hear)
        try:
            while True:
                if self._bus.connected:
                    with contextlib.suppress(nats.errors.Error):
                        await self._bus.client.publish(self._subject, str(now_s()).encode())
                await asyncio.sleep(BEAT_S)
        finally:
            with contextlib.suppress(nats.errors.Error):
                await beats.unsubscribe()

    @property
    def is_fresh(self) -> bool:
        """Whether a beat of just now has come back."""
        return now_s() - self._beat_at <= FRESH_S

    async def until_fresh(self) -> None:
        """Returns as soon as this process is alive for others."""
        while not self.is_fresh:
            self._heard.clear()
            await self._heard.wait()

    async def _hear(self, message: Msg) -> None:
        now = now_s()
        # A beat may have waited in a socket's buffer: only its own time says how old it is.
        beat_at = float(message.data)
        if max(now - self._heard_at, now - beat_at) > FRESH_S:
            self.gaps += 1
        self._heard_at = now
        self._beat_at = max(self._beat_at, beat_at)
        self._heard.set()
