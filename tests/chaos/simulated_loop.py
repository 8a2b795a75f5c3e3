"""An asyncio event loop for simulations: seeded, with a virtual clock, no selector and no threads.

The scheduler picks a ready call at random, so every order that asyncio allows occurs for some seed,
and the same seed repeats the same run. If no call is ready, the clock jumps to the next timer. A
`Life` is the loop of one process; when it dies, everything it held is lost.
"""

import asyncio
import heapq
from asyncio import events
from collections.abc import Callable, Coroutine
from contextvars import Context
from random import Random
from typing import Any

CLOSES_LIMIT = 20
"""A coroutine that awaits in `finally` must be closed once for each such await."""


class Entry:
    """One scheduled call. `life`: the process it belongs to, or None for the world."""

    __slots__ = ("args", "call", "cancelled", "context", "life", "when")

    def __init__(
        self,
        call: Callable[..., Any],
        args: tuple[Any, ...],
        life: "Life | None" = None,
        context: Context | None = None,
    ) -> None:
        self.call = call
        self.args = args
        self.life = life
        self.context = context
        self.cancelled = False
        self.when = 0.0

    def cancel(self) -> None:
        self.cancelled = True


class Scheduler:
    """Holds the ready calls and the timers, and picks the next call. `steps`: calls made so far."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.now = 0.0
        self.steps = 0
        self._ready: list[Entry] = []
        self._later: list[tuple[float, int, Entry]] = []
        self._number = 0

    def soon(self, call: Callable[..., Any], *args: Any) -> None:
        self.add(Entry(call, args))

    def later(self, wait_s: float, call: Callable[..., Any], *args: Any) -> None:
        self.add_at(self.now + wait_s, Entry(call, args))

    def add(self, entry: Entry) -> None:
        self._ready.append(entry)

    def add_at(self, when: float, entry: Entry) -> None:
        entry.when = when
        self._number += 1
        heapq.heappush(self._later, (when, self._number, entry))

    def step(self) -> None:
        """Makes one ready call."""
        ready = self._ready
        while True:
            if not ready:
                self._advance()
            chosen = int(self.rng.random() * len(ready))
            ready[chosen], ready[-1] = ready[-1], ready[chosen]
            entry = ready.pop()
            if not entry.cancelled and (entry.life is None or not entry.life.dead):
                break
        self.steps += 1
        if entry.context is None:
            entry.call(*entry.args)
        else:
            entry.context.run(entry.call, *entry.args)

    def _advance(self) -> None:
        self.now = max(self.now, self._later[0][0])
        while self._later and self._later[0][0] <= self.now:
            self._ready.append(heapq.heappop(self._later)[2])


class Life(asyncio.AbstractEventLoop):
    """The event loop of one process. It becomes the running loop."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.dead = False
        self.errors: list[dict[str, Any]] = []
        self._scheduler = scheduler
        self._tasks: list[asyncio.Task[Any]] = []
        events._set_running_loop(self)

    def die(self) -> None:
        """Ends the process: nothing of it runs again, and its closing coroutines have no effect."""
        self.dead = True
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                _close(task.get_coro())
        self._tasks.clear()
        events._set_running_loop(None)

    # --- asyncio's loop interface -------------------------------------------------------------

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Entry:
        entry = Entry(callback, args, self, context)
        if not self.dead:
            self._scheduler.add(entry)
        return entry

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Entry:
        return self.call_at(self._scheduler.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Entry:
        entry = Entry(callback, args, self, context)
        if not self.dead:
            self._scheduler.add_at(when, entry)
        return entry

    def time(self) -> float:
        return self._scheduler.now

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None
    ) -> "asyncio.Task[Any]":
        task = asyncio.Task(coro, loop=self, name=name)
        self._tasks.append(task)
        return task

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(context)


def _close(coroutine: Any) -> None:
    for _ in range(CLOSES_LIMIT):
        try:
            coroutine.close()
        except RuntimeError:  # it awaited once more
            continue
        return
    raise AssertionError(f"{coroutine} does not end")
