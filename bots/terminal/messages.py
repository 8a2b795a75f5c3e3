"""What a person types or a pipe brings, one question at a time.

It must never lose what was typed: a line that is too long is reported, not cut silently.
"""

import asyncio
import contextlib
import os
import queue
import threading
from typing import Final, Protocol, TextIO

from shared.messages import TEXT_LIMIT_CHARS
from shared.text import repaired

PROMPT: Final = "you> "

_LONGEST_LINE_BYTES: Final = 4 * TEXT_LIMIT_CHARS + 2
"""A character takes at most four bytes, the line's end two: a longer line is certainly too long."""

_READ_BYTES: Final = 1 << 16


class TooLong(Exception):
    """A line of which no more was kept than shows that it is too long."""


class Lines(Protocol):
    """Where questions come from."""

    async def next(self) -> str | None:
        """The next question, waited for; None when there are no more.

        Raises:
            TooLong: it was longer than any question may be.
        """

    def clear(self) -> bool:
        """Clears what is being typed; False if there was nothing."""

    def hold(self) -> None:
        """Puts questions that were typed ahead back into the line, to be looked at again."""

    def give_back(self, text: str) -> None:
        """Puts a question that could not be sent back into the line, if there is one."""

    def close(self) -> None:
        """Ends the lines, also for the one who waits for the next."""


class PlainLines(Lines):
    """Lines of a pipe, a file, or a terminal that can only print; read when they are asked for.

    A thread reads, because files and pipes cannot be waited for in one way. It uses the descriptor
    itself: a buffered stream that a thread waits in makes the interpreter abort at its end. It is
    a daemon, so that a read that never ends does not hold up the end of the program.
    """

    def __init__(self, source: TextIO | None, *, prompt: str = "") -> None:
        """Reads `source` (None: a closed standard input); `prompt` is printed before each line."""
        self._descriptor = source.fileno() if source else None
        self._prompt = prompt
        self._wanted: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._next: asyncio.Future[str | None] | None = None
        self._loop = asyncio.get_running_loop()
        self._read = b""
        self._closed = source is None
        self._reading = False
        threading.Thread(target=self._read_on, daemon=True, name="stdin").start()

    async def next(self) -> str | None:
        """The next line without its end."""
        if self._closed:
            return None
        self._next = self._loop.create_future()
        if self._prompt:
            print(self._prompt, end="", flush=True)  # noqa: T201  (a person reads it)
        if not self._reading:
            self._reading = True
            self._wanted.put(None)
        try:
            return await self._next
        finally:
            self._next = None

    def clear(self) -> bool:
        """False: the terminal itself clears the line when Ctrl-C is pressed."""
        return False

    def hold(self) -> None:
        """Nothing: what is typed ahead is in the terminal's hands."""

    def give_back(self, text: str) -> None:
        """Nothing: a pipe has no line that could be edited."""

    def close(self) -> None:
        """Ends the lines, also for the one who waits for the next."""
        self._closed = True
        if self._next and not self._next.done():
            self._next.set_result(None)

    def _read_on(self) -> None:
        while True:
            self._wanted.get()
            result: str | TooLong | None
            try:
                result = self._line()
            except TooLong as error:
                result = error
            except OSError:  # a terminal that is gone, or whose foreground is another process
                result = None
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._take, result)

    def _take(self, result: str | TooLong | None) -> None:
        self._reading = False
        if self._next is None or self._next.done():
            return
        if isinstance(result, TooLong):
            self._next.set_exception(result)
        else:
            self._next.set_result(result)

    def _line(self) -> str | None:
        line = self._until_line_end()
        if len(line) > _LONGEST_LINE_BYTES:
            raise TooLong
        return repaired(line.decode("utf-8", "replace")).rstrip("\r\n") if line else None

    def _until_line_end(self) -> bytes:
        """A line with its end; of a too long one the first bytes. Empty at the end of input."""
        kept = bytearray()
        while True:
            line, end, self._read = self._read.partition(b"\n")
            kept += (line + end)[: _LONGEST_LINE_BYTES + 1 - len(kept)]
            if end or not (more := os.read(self._descriptor or 0, _READ_BYTES)):
                return bytes(kept)
            self._read = more
