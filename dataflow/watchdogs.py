"""Watches the disk and the clock, on which Bytewax depends without looking.

A recovery store that cannot write ends the process, so a full disk pauses the workers first. Epochs
are timed by the wall clock, so the process restarts if the clock is set back.
"""

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

from shared.connection import CLOSED_EXIT_CODE
from shared.log import logger

DISK_FLOOR_BYTES: Final = 64 << 20
"""With less free space than this, the disk counts as full."""

DISK_CHECK_S: Final = 1.0

SET_BACK_S: Final = 1.0
"""If the clock is set back further than this, epochs stay open for too long: one source waits for
another, and nobody gets an answer until the clock has caught up."""

CLOCK_CHECK_S: Final = 0.5


async def watch_disk(folder: Path, on_change: Callable[[bool], None]) -> NoReturn:
    """Calls `on_change` with True when the disk becomes full, and with False when it has room."""
    was_full = False
    while True:
        free = shutil.disk_usage(folder).free
        is_full = free < DISK_FLOOR_BYTES
        if is_full != was_full:
            on_change(is_full)
        if is_full and not was_full:
            logger().error(
                "the disk is nearly full: no new questions are taken until it has room",
                folder=str(folder), free_mb=free >> 20, wanted_mb=DISK_FLOOR_BYTES >> 20,
            )  # fmt: skip
        elif was_full and not is_full:
            logger().warning("the disk has room again")
        was_full = is_full
        await asyncio.sleep(DISK_CHECK_S)


async def watch_clock() -> NoReturn:
    """Ends the process if the clock is set back; the supervisor then starts it again."""
    ahead_s = time.time() - time.monotonic()
    while True:
        await asyncio.sleep(CLOCK_CHECK_S)
        before_s, ahead_s = ahead_s, time.time() - time.monotonic()
        if ahead_s < before_s - SET_BACK_S:
            logger().error(
                "the clock was set back: exiting, to be restarted",
                by_s=round(before_s - ahead_s), exit_code=CLOSED_EXIT_CODE,
            )  # fmt: skip
            os._exit(CLOSED_EXIT_CODE)
