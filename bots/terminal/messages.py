"""Reads questions from a terminal, a pipe or a file, one at a time.

It must never lose what was typed: a line that is too long is reported, not silently cut.
"""

import asyncio
import contextlib
import os
import queue
import threading
from pathlib import Path
from typing import Final, Protocol, TextIO

from shared.messages import TEXT_LIMIT_CHARS
from shared.text import repaired

PROMPT: Final = "you> "

_LONGEST_LINE_BYTES: Final = 4 * TEXT_LIMIT_CHARS + 2
"""Four bytes per character, and two for the line end: a longer line is certainly too long."""

_READ_BYTES: Final = 1 << 16


class TooLong(Exception):
    """A line is longer than any question may be."""


class Lines(Protocol):
    """Where questions come from."""

    async def next(self) -> str | None:
        """Waits for the next question; None if there are no more.

        Raises:
            TooLong: it is longer than any question may be.
        """

    def clear(self) -> bool:
        """Clears the line being typed; returns False if it was empty."""

    def unqueue(self) -> None:
        """Puts questions typed ahead back into the line, to be checked again."""

    def give_back(self, text: str) -> None:
        """Puts a question that could not be sent back into the line."""

    def forget(self) -> None:
        """Erases the questions that are kept to be offered again."""

    def take_back(self, text: str) -> None:
        """Clears the line if a question that was given back is still all that is in it."""

    def close(self) -> None:
        """Ends the input; a pending `next` returns None."""


class PlainLines(Lines):
    """Lines of a pipe, a file, or a terminal without cursor movement; read on demand.

    A thread reads, because asyncio cannot wait for files. It reads the descriptor directly: the
    interpreter aborts at exit if a thread is blocked in a buffered stream. The thread is a daemon,
    so that a pending read does not keep the program from ending.
    """

    def __init__(
        self, source: TextIO | None, *, prompt: str = "", history: Path | None = None
    ) -> None:
        """Reads `source` (None: standard input is closed) and prints `prompt` before each line.

        `history` is the file in which chats with an editor keep questions.
        """
        self._history = history
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
        """The next line, without its line end."""
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
        """Always False: at Ctrl-C the terminal itself clears the line."""
        return False

    def unqueue(self) -> None:
        """Does nothing: the terminal holds what was typed ahead."""

    def give_back(self, text: str) -> None:
        """Does nothing: there is no line that could be edited."""

    def forget(self) -> None:
        """Erases the questions of earlier chats, which had an editor."""
        if self._history is not None:
            self._history.unlink(missing_ok=True)

    def take_back(self, text: str) -> None:
        """Does nothing, for the same reason."""

    def close(self) -> None:
        """Ends the input; a pending `next` returns None."""
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
            except OSError:  # the terminal is gone, or another process is in its foreground
                result = None
            with contextlib.suppress(RuntimeError):  # the loop is closed, so nothing waits for this
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
        """A line with its end, or the beginning of one that is too long; empty at end of input."""
        kept = bytearray()
        while True:
            line, end, self._read = self._read.partition(b"\n")
            kept += (line + end)[: _LONGEST_LINE_BYTES + 1 - len(kept)]
            if end or not (more := os.read(self._descriptor or 0, _READ_BYTES)):
                return bytes(kept)
            self._read = more
