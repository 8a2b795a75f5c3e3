"""The interpreter's and the C library's settings that a service changes, each with its reason.

Nothing here changes what a program does, only what it costs; docs/benchmarks.md has the figures.
Imports the standard library alone: a process reads this module before anything else.
"""

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator
from typing import Final

ADAPTER_GARBAGE_AFTER: Final = 2_000
"""An adapter collects garbage after this many new objects: 20,000 would be some 2 MB of it."""

DATAFLOW_GARBAGE_AFTER: Final = 5_000
"""Python's own 700 makes model calls slower; 50,000 lets closed connections pile up for hours."""

OBJECTS_PER_CALL: Final = 100
"""New objects that a model call in progress is expected to hold: they are not garbage yet."""

SWITCH_INTERVAL_S: Final = 0.000_2
"""How soon the dataflow's two threads take turns: Python's 5 ms delays replies."""

_M_MMAP_THRESHOLD: Final = -3  # glibc's malloc.h
_LARGE_BYTES: Final = 128 * 1024


@contextlib.contextmanager
def imports(*, garbage_after: int = ADAPTER_GARBAGE_AFTER) -> Iterator[None]:
    """Wrap a service's imports in this: they run without the garbage collector.

    Imported objects live as long as the process, so later collections skip them. From then on a
    collection runs after `garbage_after` new objects.
    """
    _keep_large_buffers_out_of_the_heap()
    gc.disable()
    yield
    gc.freeze()
    gc.set_threshold(garbage_after, *gc.get_threshold()[1:])
    gc.enable()


@contextlib.contextmanager
def without(package: str) -> Iterator[None]:
    """Make an optional package look missing to the imports inside, which then start faster."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]


class GarbageForCalls:
    """Collects garbage later while many model calls run: their objects are in use, not garbage."""

    def __init__(self) -> None:
        self._garbage_after = gc.get_threshold()[0]

    def in_flight(self, calls: int) -> None:
        """Adapts the collector to this number of calls."""
        gc.set_threshold(self._garbage_after + OBJECTS_PER_CALL * calls)


def take_turns_often() -> None:
    """Let two busy threads of this process take turns every `SWITCH_INTERVAL_S` seconds."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)


def _keep_large_buffers_out_of_the_heap() -> None:
    """Fixes glibc's mmap threshold at its default; left alone, glibc raises it.

    asyncio's 256 KiB read buffers would then come from the heap and fragment it.
    """
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
