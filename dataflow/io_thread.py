"""The one asyncio thread of a dataflow process, and the doorbells by which it wakes the workers.

Bytewax runs a worker in a thread that must never wait for the network; all waiting is done here.
"""

import asyncio
import os
import selectors
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

from shared.connection import CLOSED_EXIT_CODE
from shared.log import logger

T = TypeVar("T")

DEFECT_EXIT_CODE: Final = 70
"""EX_SOFTWARE of sysexits.h."""

START_TIMEOUT_S: Final = 30.0

IDLE_STEPS: Final = 1
"""Idle dataflow steps before a worker sleeps. Without one an item waits out a sleep on its way from
source to sink; each more takes 40 us of processor time that the asyncio thread needs."""

PARKED_S: Final = 0.050
"""Longest sleep of an idle worker; any news rings the bell before. Epochs close by its steps."""

PARKED_IN_CLUSTER_S: Final = 0.001
"""Items from another worker cannot ring, so a cluster's workers look more often."""

DISK_FLOOR_BYTES: Final = 64 << 20
"""Below this free space the workers pause: a recovery store that cannot write ends the process."""

DISK_CHECK_S: Final = 1.0

SET_BACK_S: Final = 1.0
"""Bytewax times its epochs by the wall clock. Set back, they stay open for as long, and what one
source reads waits for another's: nobody is answered until the clock is where it was."""

CLOCK_CHECK_S: Final = 0.5


class Seat:
    """One worker's doorbell, and what waits for it: a user with what `Heard` allows."""

    def __init__(self, parked_s: float) -> None:
        self.completions: deque[tuple[str, Any]] = deque()
        self._bell = threading.Event()
        self._idle_steps = 0
        self._parked_s = parked_s

    def ring(self) -> None:
        """Wakes the worker. From any thread."""
        self._idle_steps = 0
        self._bell.set()

    def busy(self) -> None:
        """Data is moving: the worker's next steps do not sleep. In the worker's thread."""
        self._idle_steps = 0

    def park(self) -> None:
        """Sleeps until the bell rings, if nothing has moved for some steps."""
        self._idle_steps += 1
        if self._idle_steps > IDLE_STEPS:
            self._bell.wait(self._parked_s)
        self._bell.clear()


class _SocketsFirst(selectors.DefaultSelector):
    """Looks once more where a wait has timed out.

    After the process stood still (a stop signal, a machine that slept) the wait ends without a look
    at the sockets (PEP 475), and everything that should have been read meanwhile counts as late.
    """

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready, within so many seconds."""
        return super().select(timeout) or (super().select(0) if timeout else [])


class IoThread:
    """The loop, its thread, and one seat a worker."""

    def __init__(self, home: Path, *, clustered: bool) -> None:
        self.loop = asyncio.SelectorEventLoop(_SocketsFirst())
        self.working = False
        """Whether the workers take steps; before that they wait for NATS."""
        self.stopping = False
        self.disk_full = False
        self._home = home
        self._parked_s = PARKED_IN_CLUSTER_S if clustered else PARKED_S
        self._seats: dict[int, Seat] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True, name="io")
        self._thread.start()
        self.spawn(self._watch_disk())
        self.spawn(self._watch_clock())

    def seat(self) -> Seat:
        """The seat of the worker whose thread this is: its sources and its sink share it."""
        return self._seats.setdefault(threading.get_ident(), Seat(self._parked_s))

    def call(
        self, coroutine: Coroutine[Any, Any, T], timeout_s: float | None = START_TIMEOUT_S
    ) -> T:
        """Runs a coroutine there and waits for it. Blocks: only for starting and stopping."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout_s)

    def soon(self, call: Callable[..., object], *arguments: object) -> None:
        """Has a function called there."""
        self.loop.call_soon_threadsafe(call, *arguments)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Runs a coroutine there for as long as it takes. From any thread."""
        self.loop.call_soon_threadsafe(self._spawn, coroutine)

    def _spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A reader of a partition that is gone would leave its users unheard: start afresh.
            logger().error("defect: exiting, to be started afresh", exc_info=error)
            os._exit(DEFECT_EXIT_CODE)

    def stop(self) -> None:
        """Has the sources end once nothing is in flight. From any thread."""
        self.stopping = True
        for seat in tuple(self._seats.values()):
            seat.ring()

    async def _watch_clock(self) -> None:
        ahead_s = time.time() - time.monotonic()
        while True:
            await asyncio.sleep(CLOCK_CHECK_S)
            before_s, ahead_s = ahead_s, time.time() - time.monotonic()
            if ahead_s < before_s - SET_BACK_S:
                logger().error(
                    "the clock was set back: exiting, so that the process is started afresh",
                    by_s=round(before_s - ahead_s), exit_code=CLOSED_EXIT_CODE,
                )  # fmt: skip
                os._exit(CLOSED_EXIT_CODE)

    async def _watch_disk(self) -> None:
        while True:
            free = shutil.disk_usage(self._home).free
            full = free < DISK_FLOOR_BYTES
            if full and not self.disk_full:
                logger().error(
                    "the disk is nearly full: no new questions are taken until there is room",
                    folder=str(self._home), free_mb=free >> 20, wanted_mb=DISK_FLOOR_BYTES >> 20,
                )  # fmt: skip
            elif self.disk_full and not full:
                logger().warning("the disk has room again")
            self.disk_full = full
            await asyncio.sleep(DISK_CHECK_S)
