"""Ends a dataflow process after a signal: in good order if possible, and always in time.

It must never lose a question. Unfinished questions are pending in the store, or not yet
read from the stream, so they are asked after the next start, as after a crash.
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
"""Time to write the state after the last answer. The process must end before its supervisor kills
it (`DATAFLOW_STOP_S` in `ops/up.py`)."""


def block_signals() -> None:
    """Blocks the signals, for `end_on_signal`. Call before any other thread starts.

    Bytewax's own handler would end the process at once, and a handler in the main thread would wait
    until that thread runs Python again.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, lifecycle.stop_signals())


def end_on_signal(io: IoThread, drain: Callable[[], None], *, drain_s: float) -> None:
    """Ends the process at most `drain_s + END_S` seconds after a signal.

    `drain` waits at most `drain_s` seconds for answers in progress. It runs in its own thread, and
    only if the workers take steps, since nothing is in progress before that. A second signal ends
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
        io.stop()

    threading.Thread(target=wait, daemon=True, name="signals").start()


def _end_now(why: str) -> NoReturn:
    logger().warning(
        "ending at once: unanswered questions are asked again after the next start", why=why
    )
    # Ends all threads, whatever they wait for. For the store this is a crash.
    os._exit(0)
