"""How a process starts and ends: what it tells its supervisor, and when it has to go.

The protocol is lines on standard output: `READY <where>` once it can do its work, `SAY <words>` for
what a person should see. It must never leave a process behind whose supervisor is gone.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

SUPERVISED_ENV: Final = "THREADWAX_SUPERVISED"
PARENT_ENV: Final = "THREADWAX_PARENT"

READY: Final = "READY"
SAY: Final = "SAY"

CANNOT_START: Final = 78
"""EX_CONFIG of sysexits.h: starting again will not help before a person changes something."""

SAME_WISH_S: Final = 0.5
"""A signal that comes this soon after the first is the same wish to stop: `timeout` sends one to a
process, then one to its group."""

_BY_SIGNAL: Final = 128
"""A shell's exit code for a process that a signal ended, without the signal's number."""

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_ORPHAN_POLL_S: Final = 1.0


def supervised() -> bool:
    """Whether another process of ours started this one and reads its output."""
    return os.environ.get(SUPERVISED_ENV) == "1"


def child_environment() -> dict[str, str]:
    """What a child is told so that `die_with_parent` works in it: to add to its environment."""
    return {SUPERVISED_ENV: "1", PARENT_ENV: str(os.getpid())}


def ready(text: str) -> None:
    """Tells that the process can do its work now; `text` says where it can be found."""
    if supervised():
        _tell(READY, text)
    else:
        # Imported late: this module is the first that a process reads, before it has a supervisor.
        from shared.log import logger  # noqa: PLC0415

        logger().info("ready", at=text)


def say(text: str) -> None:
    """Tells a person in one line what is wrong, or over; call it once for each change."""
    if supervised():
        _tell(SAY, text)
    print(text, file=sys.stderr, flush=True)  # noqa: T201  (the log file or the terminal)


def tell(text: str) -> None:
    """Tells the supervisor, if there is one, what a person should see; the caller logs it."""
    if supervised():
        _tell(SAY, text)


def die_with_parent() -> None:
    """Has this process stopped with SIGTERM when its supervisor is gone; call it first of all.

    Does nothing in a process that a person started.
    """
    parent = int(os.environ.pop(PARENT_ENV, "0"))
    if not parent:
        return
    if sys.platform == "linux":
        die_with_parent_signal()
        if os.getppid() != parent:  # it went before the line above
            sys.exit(0)
    else:
        threading.Thread(target=_stop_as_orphan, args=(parent,), daemon=True).start()


def die_with_parent_signal() -> None:
    """Linux: the kernel sends SIGTERM when the *thread* that started this process ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def stop_signals() -> list[signal.Signals]:
    """The signals that end this process: not SIGHUP under `nohup`, which has it ignored."""
    hung_up = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGTERM, signal.SIGINT, *hung_up]


def end_when_told() -> None:
    """Has the first process of a container end at SIGTERM until it does more about it.

    The kernel drops signals for process 1 that have no handler, so that a container that is
    stopped while it starts, or that only waits, would be killed after its grace period.
    """
    if os.getpid() == 1:
        for number in stop_signals():
            signal.signal(number, lambda number, _: os._exit(_BY_SIGNAL + number))


async def wait_for_stop() -> str:
    """Returns with the name of the first SIGTERM, SIGINT or SIGHUP; call it in the main thread.

    A later signal ends the process at once, unless it is the same wish (`SAME_WISH_S`).
    """
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[str] = loop.create_future()
    signals = stop_signals()

    def stop(name: str) -> None:
        if not stopped.done():
            stopped.set_result(name)
            loop.call_later(SAME_WISH_S, listen_no_more)

    def listen_no_more() -> None:
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)  # asyncio has SIGINT raise KeyboardInterrupt
        end_when_told()

    for number in signals:
        loop.add_signal_handler(number, stop, number.name)
    try:
        return await stopped
    except asyncio.CancelledError:
        listen_no_more()
        raise


class Stopped(Exception):
    """The process was told to stop before it could do its work."""


async def unless_stopped(stop: asyncio.Task[str], work: Coroutine[Any, Any, T]) -> T:
    """The result of work that may take forever, such as waiting for a server.

    Raises:
        Stopped: a signal came first.
    """
    working = asyncio.create_task(work)
    await asyncio.wait({stop, working}, return_when=asyncio.FIRST_COMPLETED)
    if not working.done():
        working.cancel()
        await asyncio.wait({working})
        raise Stopped
    return working.result()


def _tell(kind: str, text: str) -> None:
    with contextlib.suppress(OSError):  # the supervisor is gone; the signal is on its way
        print(kind, " ".join(text.split()), flush=True)  # noqa: T201  (the protocol)


def _stop_as_orphan(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_ORPHAN_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)
