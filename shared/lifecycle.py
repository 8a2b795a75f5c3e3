"""How a process starts and stops, and how it talks to its supervisor.

The protocol is lines on standard output: `READY <where>` once the process can work, and
`SAY <text>` for what a person should see. A process must never outlive its supervisor.
"""

import asyncio
import contextlib
import ctypes
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

T = TypeVar("T")

SUPERVISED_ENV: Final = "THREADWAX_SUPERVISED"
PARENT_ENV: Final = "THREADWAX_PARENT"

READY: Final = "READY"
SAY: Final = "SAY"

CANNOT_START: Final = 78
"""EX_CONFIG of sysexits.h: a restart cannot help until a person changes something."""

SAME_STOP_S: Final = 0.5
"""Stop signals within this time count as one: `timeout` signals a process, then its group."""

_BY_SIGNAL: Final = 128
"""A shell adds the number of the signal to this for a process that a signal ended."""

_STANDARD_ERROR: Final = 2
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_ORPHAN_POLL_S: Final = 1.0


def supervised() -> bool:
    """Whether another process of ours started this one and reads its output."""
    return os.environ.get(SUPERVISED_ENV) == "1"


def child_environment() -> dict[str, str]:
    """Environment variables that a child needs for `die_with_parent`."""
    return {SUPERVISED_ENV: "1", PARENT_ENV: str(os.getpid())}


def ready(text: str) -> None:
    """Reports that the process can work now; `text` says where it can be reached."""
    if supervised():
        _print(READY, text)
    else:
        # Imported here: a process imports this module first, and logging takes longer.
        from shared.log import logger  # noqa: PLC0415

        logger().info("ready", at=text)


def say(text: str) -> None:
    """Shows a person one line about a problem, or its end. Call it once per change."""
    if supervised():
        _print(SAY, text)
    print(text, file=sys.stderr, flush=True)  # noqa: T201  (the log file or the terminal)


def say_if_supervised(text: str) -> None:
    """Has the supervisor, if there is one, show a line to a person; the caller also logs it."""
    if supervised():
        _print(SAY, text)


def die_with_parent() -> None:
    """Stops this process with SIGTERM when its supervisor is gone. Call it first.

    Does nothing in a process that a person started.
    """
    parent = int(os.environ.pop(PARENT_ENV, "0"))
    if not parent:
        return
    if sys.platform == "linux":
        die_with_parent_signal()
        if os.getppid() != parent:  # the parent ended before the line above
            sys.exit(0)
    else:
        threading.Thread(target=_stop_as_orphan, args=(parent,), daemon=True).start()


def die_with_parent_signal(number: int = signal.SIGTERM) -> None:
    """Has Linux send a signal when the *thread* that started this process ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def stop_signals() -> list[signal.Signals]:
    """The signals that stop this process, without SIGHUP under `nohup`, which ignores it."""
    hung_up = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGTERM, signal.SIGINT, *hung_up]


def open_standard_streams() -> None:
    """Takes the numbers of those standard streams that were closed. Call it before any file.

    Otherwise the next file or socket would get them. Messages to standard error are lost while it
    cannot be written. `stdin` and `stdout` remain None, so that nothing seems to be read or
    written.
    """
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if stream is None:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_MayLose(_STANDARD_ERROR, "w", closefd=False)),
        errors="backslashreplace",
        line_buffering=True,
    )


class _MayLose(io.FileIO):
    """A file whose writes never fail.

    A log on a full disk, or on a terminal that was closed, must not end what is logged.
    """

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            written = super().write(data)
        except OSError:
            written = None
        # Also if it is a pipe that is full and does not block.
        return memoryview(data).nbytes if written is None else written


def exit_on_stop_signal() -> None:
    """Lets the first process of a container exit at SIGTERM until other handlers are set.

    The kernel drops signals to process 1 that have no handler. Without one, stopping a container
    that is starting or waiting would take the whole grace period.
    """
    if os.getpid() == 1:
        for number in stop_signals():
            signal.signal(number, lambda number, _: os._exit(_BY_SIGNAL + number))


async def wait_for_stop() -> str:
    """Waits for SIGTERM, SIGINT or SIGHUP and returns its name. Call it in the main thread.

    A later signal ends the process at once, unless it comes within `SAME_STOP_S`.
    """
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[str] = loop.create_future()
    signals = stop_signals()

    def stop(name: str) -> None:
        if not stopped.done():
            stopped.set_result(name)
            loop.call_later(SAME_STOP_S, listen_no_more)

    def listen_no_more() -> None:
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)  # asyncio has SIGINT raise KeyboardInterrupt
        exit_on_stop_signal()

    for number in signals:
        loop.add_signal_handler(number, stop, number.name)
    try:
        return await stopped
    except asyncio.CancelledError:
        listen_no_more()
        raise


class Stopped(Exception):
    """A signal stopped the process before it could work."""


async def unless_stopped(stop: asyncio.Task[str], work: Coroutine[Any, Any, T]) -> T:
    """Awaits work that may take forever, such as waiting for a server.

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


def _print(kind: str, text: str) -> None:
    with contextlib.suppress(OSError):  # the supervisor is gone, so a signal is on its way
        print(kind, " ".join(text.split()), flush=True)  # noqa: T201  (the protocol)


def _stop_as_orphan(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_ORPHAN_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)
