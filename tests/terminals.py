"""Programs on a pseudo-terminal: a test types, and reads the screen as a person would.

pyte emulates the terminal. It does not rewrap rows when the window is resized; tests that need
that use tmux.
"""

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import pyte

WAIT_S = 20.0
"""Generous, so that a busy machine does not fail a test."""

PASTE = "\x1b[200~{}\x1b[201~"
"""A paste, as a terminal sends it to a program that has switched on bracketed paste."""

SCROLLBACK_ROWS = 10_000


class Typed:
    """A program on a pseudo-terminal."""

    def __init__(
        self,
        command: Sequence[str],
        environment: dict[str, str],
        *,
        columns: int = 80,
        rows: int = 24,
        typed_ahead: str = "",
    ) -> None:
        self._own, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.modes = termios.tcgetattr(theirs)
        os.set_blocking(self._own, False)
        self.raw = ""
        self._screen = pyte.HistoryScreen(columns, rows, history=SCROLLBACK_ROWS, ratio=1.0)
        self._stream = pyte.Stream(self._screen)
        if typed_ahead:
            self.type(typed_ahead)
        self._theirs = theirs
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            # It needs a terminal of its own, so that Ctrl-C signals only this program.
            preexec_fn=_own_terminal,  # noqa: PLW1509  (no threads here)
        )

    def cells(self) -> list[list[Any]]:
        """The rows as pyte's cells, which hold characters and their colors."""
        rows = [
            *self._screen.history.top,
            *(self._screen.buffer[y] for y in range(self._screen.lines)),
        ]
        return [[row[column] for column in range(self._screen.columns)] for row in rows]

    @property
    def shown(self) -> str:
        """The rows on the screen and those that have scrolled off it."""
        scrolled = [_row(cells, self._screen.columns) for cells in self._screen.history.top]
        return "\n".join(row.rstrip() for row in (*scrolled, *self._screen.display)).rstrip()

    @property
    def line(self) -> str:
        """The row of the cursor."""
        return str(self._screen.display[self._screen.cursor.y].rstrip())

    def modes_now(self) -> Any:
        """The terminal's current modes, such as echo and canonical input."""
        return termios.tcgetattr(self._theirs)

    def type(self, text: str) -> None:
        """Types a text, or sends the characters of a key or a paste."""
        data = text.encode(errors="surrogateescape")
        while data:
            with contextlib.suppress(BlockingIOError):
                data = data[os.write(self._own, data) :]
            self.read()

    async def until(self, pattern: str, *, within_s: float = WAIT_S) -> None:
        """Waits until the pattern is shown."""
        try:
            async with asyncio.timeout(within_s):
                while not re.search(pattern, self.shown):
                    self.read()
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"no {pattern!r} in:\n{self.shown}") from None

    async def until_gone(self, pattern: str) -> None:
        """Waits until the pattern is no longer shown."""
        try:
            async with asyncio.timeout(WAIT_S):
                while re.search(pattern, self.shown):
                    self.read()
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"{pattern!r} is still in:\n{self.shown}") from None

    async def ended(self) -> int:
        """Waits until the program ends; returns its exit code."""
        async with asyncio.timeout(WAIT_S):
            while self.process.poll() is None:
                self.read()
                await asyncio.sleep(0.01)
        self.read()
        return self.process.returncode

    def hang_up(self) -> None:
        """Closes the terminal, as closing its window does."""
        os.close(self._theirs)
        os.close(self._own)
        self._own = self._theirs = -1

    def read(self) -> None:
        """Reads everything that was written so far."""
        with contextlib.suppress(BlockingIOError, OSError):
            while data := os.read(self._own, 1 << 16):
                text = data.decode(errors="replace")
                self.raw += text
                self._stream.feed(text)

    def close(self) -> None:
        """Kills the program if it is still running, and closes its terminal."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(WAIT_S)
        if self._own >= 0:
            self.hang_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Tmux:
    """A program in a window of tmux, which rewraps rows as most terminals do."""

    def __init__(self, socket: Path, command: Sequence[str], environment: dict[str, str]) -> None:
        self._tmux = ("tmux", "-f", os.devnull, "-S", str(socket))
        self._environment = {key: value for key, value in environment.items() if key != "TMUX"}
        self._run("new-session", "-d", "-x", "100", "-y", "24", shlex.join(command))

    @property
    def shown(self) -> str:
        """The rows on the screen and those that have scrolled off it."""
        rows = self._run("capture-pane", "-p", "-S", "-").splitlines()
        return "\n".join(row.rstrip() for row in rows).rstrip()

    def type(self, text: str) -> None:
        """Types a text."""
        self._run("send-keys", "-l", text)

    def resize(self, columns: int, rows: int) -> None:
        """Resizes the window."""
        self._run("resize-window", "-x", str(columns), "-y", str(rows))

    async def until(self, pattern: str) -> None:
        """Waits until the pattern is shown."""
        try:
            async with asyncio.timeout(WAIT_S):
                while not re.search(pattern, self.shown):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"no {pattern!r} in:\n{self.shown}") from None

    def _run(self, *arguments: str) -> str:
        command = [*self._tmux, *arguments]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("kill-server")


def _row(cells: Any, columns: int) -> str:
    return "".join(cells[column].data for column in range(columns))


def _own_terminal() -> None:
    os.setsid()
    os.close(os.open(os.ttyname(0), os.O_RDWR))  # opening it makes it the controlling terminal
