"""Reads a person's lines from standard input without holding up the event loop.

It must never lose what was typed: a line that is too long is told apart, not cut silently.
"""

import asyncio
import contextlib
import io
import queue
import sys
import threading
from typing import Final

from shared.messages import TEXT_LIMIT_CHARS

PROMPT: Final = "you> "

_LONGEST_LINE_BYTES: Final = 4 * TEXT_LIMIT_CHARS + 2
"""A character takes four bytes at most, the line's end two. What is longer is surely too long."""

_SKIP_BYTES: Final = 1 << 16


class TooLong(Exception):  # noqa: N818  (named by what it is about, as all our errors)
    """A line of which no more was kept than shows that it is too long."""


class Lines:
    """Lines of standard input, one at a time and only when asked for.

    On a terminal with line editing and history. A thread does the reading, because neither a
    terminal's line editor nor a pipe or file can be waited for in an event loop; it is a daemon, so
    that a read that never ends does not hold up the end of the program.
    """

    def __init__(self, *, interactive: bool) -> None:
        self._interactive = interactive
        self._wanted: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._next: asyncio.Future[str | None] | None = None
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._reading = False
        threading.Thread(target=self._read_on, daemon=True, name="stdin").start()

    @property
    def prompting(self) -> bool:
        """Whether the person is being asked for a line now."""
        return self._next is not None

    async def next(self) -> str | None:
        """The next line without its end; None when there are no more.

        Raises:
            TooLong: the line was longer than any question may be.
        """
        if self._closed:
            return None
        self._next = self._loop.create_future()
        if not self._reading:
            self._reading = True
            self._wanted.put(None)
        try:
            return await self._next
        finally:
            self._next = None

    def close(self) -> None:
        """Ends the lines, also for who waits for one."""
        self._closed = True
        if self._next and not self._next.done():
            self._next.set_result(None)

    def _read_on(self) -> None:
        while True:
            self._wanted.get()
            result: str | Exception | None
            try:
                result = _typed() if self._interactive else _piped()
            except EOFError:
                result = None
            except (TooLong, OSError) as error:
                result = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._take, result)

    def _take(self, result: str | Exception | None) -> None:
        self._reading = False
        if self._next is None or self._next.done():
            return
        if isinstance(result, Exception):
            self._next.set_exception(result)
        else:
            self._next.set_result(result)


def _typed() -> str:
    line = input(PROMPT)
    # What is no UTF-8 comes as lone surrogates, which no message can carry.
    return line.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _piped() -> str | None:
    # Unbuffered: a buffered stream that a thread waits in makes the interpreter abort at its end.
    source = io.FileIO(sys.stdin.fileno(), closefd=False)
    line = source.readline(_LONGEST_LINE_BYTES)
    if not line:
        return None
    if len(line) == _LONGEST_LINE_BYTES and not line.endswith(b"\n"):
        while line and not line.endswith(b"\n"):
            line = source.readline(_SKIP_BYTES)
        raise TooLong
    return line.decode("utf-8", "replace").rstrip("\r\n")
