"""The one asyncio thread of a dataflow process, in which all waiting is done.

Bytewax runs its worker in another thread, which must never wait for the network.
"""

import asyncio
import os
import selectors
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from dataflow.worker_inbox import WorkerInbox
from shared.log import logger

T = TypeVar("T")

DEFECT_EXIT_CODE: Final = 70
"""EX_SOFTWARE of sysexits.h."""

START_TIMEOUT_S: Final = 30.0


class _SocketsFirst(selectors.DefaultSelector):
    """Checks the sockets once more after a wait has timed out.

    If the process was suspended, a wait ends without a look at the sockets (PEP 475), and whatever
    arrived in the meantime would count as late.
    """

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """The files that are ready within `timeout` seconds."""
        return super().select(timeout) or (super().select(0) if timeout else [])


class _Unhurried(_SocketsFirst):
    """Lets data gather for `gather_s` before it is read.

    Each wake-up costs as much as reading several messages.
    """

    def __init__(self, gather_s: float) -> None:
        super().__init__()
        self._gather_s = gather_s

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """The same, at most `gather_s` later."""
        ready = super().select(timeout)
        if not ready or timeout == 0:
            return ready
        time.sleep(self._gather_s)
        return super().select(0)


class IoThread:
    """The event loop, its thread, and the inbox of the worker."""

    def __init__(self, *, gather_s: float = 0.0) -> None:
        """`gather_s`: how long the thread may wait for more data before it reads any."""
        selector = _Unhurried(gather_s) if gather_s else _SocketsFirst()
        self.loop = asyncio.SelectorEventLoop(selector)
        self.working = False
        """Whether the worker takes steps; before that it waits for NATS."""
        self.stopping = False
        self.inbox = WorkerInbox()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True, name="io")
        self._thread.start()

    def call(
        self, coroutine: Coroutine[Any, Any, T], timeout_s: float | None = START_TIMEOUT_S
    ) -> T:
        """Runs a coroutine in this thread and waits for it. Only for starting and stopping."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout_s)

    def soon(self, call: Callable[..., object], *arguments: object) -> None:
        """Has a function called in this thread. Call from any thread."""
        self.loop.call_soon_threadsafe(call, *arguments)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Runs a coroutine in this thread for as long as it takes. Call from any thread."""
        self.loop.call_soon_threadsafe(self.task, coroutine)

    def task(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """The same, from this thread. Its end by an exception ends the process."""
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def wake(self) -> None:
        """Wakes the worker. Call from any thread."""
        self.inbox.wake()

    def stop(self) -> None:
        """Makes the source end once nothing is in progress. Call from any thread."""
        self.stopping = True
        self.wake()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Without its reader, nobody in a partition would get an answer any more.
            logger().error("defect: exiting, to be restarted", exc_info=error)
            os._exit(DEFECT_EXIT_CODE)
