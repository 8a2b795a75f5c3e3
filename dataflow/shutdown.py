"""The end of a dataflow process after a signal: in good order if it can be, and always in time.

It must never lose a question. Whatever is cut off is pending in the recovery store, or not yet read
from the stream, so it is asked after the next start, as after a crash.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Final, NoReturn

from dataflow.io_thread import IoThread
from shared import lifecycle
from shared.log import logger

END_S: Final = 3.0
"""For the flow to write its state after the answers under way have ended. The process is gone
before its supervisor loses patience (`DATAFLOW_STOP_S` in `ops/up.py`)."""


def block_signals() -> None:
    """Keeps the signals for `end_on_signal`. Call before any other thread starts.

    Bytewax's own handling would end the process at once, and a handler in the main thread waits
    until that thread runs Python again.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, lifecycle.stop_signals())


def end_on_signal(io: IoThread, drain: Callable[[], None], *, drain_s: float) -> None:
    """Ends the process after a signal, at the latest `drain_s + END_S` seconds later.

    `drain` waits for what is under way, at most `drain_s` seconds. It is called in a thread of its
    own once the workers take steps; before that there is nothing to wait for. A second signal ends
    the process at once, unless it comes within `lifecycle.SAME_STOP_S`.
    """
    signals = lifecycle.stop_signals()

    def wait() -> None:
        number = signal.sigwait(signals)
        logger().info("stopping", signal=signal.Signals(number).name)
        if not io.working:
            os._exit(0)
        deadline = threading.Timer(drain_s + END_S, _end_now, ["it takes too long"])
        deadline.daemon = True
        deadline.start()
        threading.Thread(target=drained, daemon=True, name="drain").start()
        first_at = time.monotonic()
        while time.monotonic() - first_at <= lifecycle.SAME_STOP_S:
            signal.sigwait(signals)
        _end_now("signalled again")

    def drained() -> None:
        drain()
        if io.disk_full:
            _end_now("the disk is full")  # the flow would write its state, and fail
        io.stop()

    threading.Thread(target=wait, daemon=True, name="signals").start()


def _end_now(why: str) -> NoReturn:
    logger().warning("ending at once: what is unanswered is asked after the next start", why=why)
    # In every thread, whatever each waits for. The recovery store takes it like a crash.
    os._exit(0)
