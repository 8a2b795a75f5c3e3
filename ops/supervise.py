"""Keeps child processes running: restarted with backoff when they die, stopped in order.

Knows nothing of what they do. Leaves no process behind, however it ends itself.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from shared import lifecycle

BACKOFF_FIRST_S: Final = 0.5
BACKOFF_LAST_S: Final = 30.0

HEALTHY_S: Final = 60.0
"""After this long a life the next death counts as the first."""

STOP_DEADLINE_S: Final = 10.0
"""A server finishes its writes in a tenth of a second; after this it hangs."""

LOG_LIMIT_BYTES: Final = 10 << 20
LINE_LIMIT_BYTES: Final = 1 << 20
NAME_WIDTH: Final = 10

_NO_CODE: Final = -(1 << 16)
"""In place of an exit code if there was no process. Negative ones mean signals."""

_ONCE_CHANGED: Final = "it is not started again until that is changed"

_DOUBLINGS: Final = 32  # enough for any last wait, few enough for a float
_OUTPUT_END_S: Final = 1.0  # a process of its own may hold the output open a moment longer

Say = Callable[[str, str], None]
"""Shows a process's name and one line about it to a person."""


class Ended(Exception):
    """A process ended before it was ready, or will not be started again; the text is its last."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run under which name. `log` takes its output; its READY line makes it ready."""

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_s: float = STOP_DEADLINE_S


@dataclass(frozen=True, slots=True)
class Backoff:
    """The waits before one start after another."""

    first_s: float = BACKOFF_FIRST_S
    last_s: float = BACKOFF_LAST_S
    healthy_s: float = HEALTHY_S

    def wait_s(self, deaths: int) -> float:
        """The wait after the nth death in a row (n >= 1)."""
        return float(min(self.first_s * 2 ** min(deaths - 1, _DOUBLINGS), self.last_s))


class Child:
    """One supervised process. Start it in the main thread: Linux ties its life to that thread."""

    def __init__(self, program: Program, say: Say, backoff: Backoff | None = None) -> None:
        self._program = program
        self._say = say
        self._backoff = backoff or Backoff()
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._first_end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._last_words = ""

    @property
    def name(self) -> str:
        """What it is called."""
        return self._program.name

    @property
    def is_ready(self) -> bool:
        """Whether it runs and said that it is ready."""
        return self._ready.is_set()

    @property
    def pid(self) -> int | None:
        """Its process, if it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else None

    def start(self) -> None:
        """Starts it and keeps it running until `stop`."""
        self._task = asyncio.create_task(self._keep_running(), name=self.name)

    async def ready(self) -> None:
        """Waits until it is ready.

        Raises:
            Ended: it ended before it was ready for the first time.
        """
        waiting = asyncio.create_task(self._ready.wait())
        ends: set[asyncio.Future[Any]] = {waiting, self._first_end}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not self._ready.is_set():
            raise Ended(self._first_end.result())

    async def stop(self) -> None:
        """Stops it: SIGTERM, then SIGKILL to it and to what it started in its group."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    def kill(self) -> None:
        """Ends it at once, while it is being stopped: it is not waited for any more."""
        if (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    async def _keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        deaths = 0
        while True:
            started = loop.time()
            self._last_words = ""
            try:
                code = await self._run_once()
                why = f"{_ended(code)}; see {_short(self._program.log)}"
            except OSError as error:  # for example, its log cannot be opened
                code, why = _NO_CODE, f"it cannot be started: {error.strerror}: {error.filename}"
            self._ready.clear()
            lived_s = loop.time() - started
            deaths = 1 if lived_s >= self._backoff.healthy_s else deaths + 1
            if not self._first_end.done():
                self._first_end.set_result(self._last_words or why)
            if code == lifecycle.CANNOT_START:
                # Its last words are on the screen already.
                self._say(self.name, f"stopped    {_ONCE_CHANGED if self._last_words else why}")
                return
            wait_s = self._backoff.wait_s(deaths)
            self._say(self.name, f"restarting in {wait_s:g} s ({why})")
            await asyncio.sleep(wait_s)

    async def _run_once(self) -> int:
        """Runs it to its end and returns the exit code; cancelled, it stops it first."""
        # A pipe of our own: with asyncio's, a process counts as running while anybody whom it
        # started holds its output open.
        reading, writing = os.pipe()
        with _log_file(self._program.log) as log, os.fdopen(reading, "rb") as output:
            try:
                process = await asyncio.create_subprocess_exec(
                    *self._program.command,
                    env={
                        **os.environ,
                        **self._program.environment,
                        **lifecycle.child_environment(),
                    },
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=writing,
                    stderr=log,
                    # The terminal's Ctrl-C is for the supervisor, which stops them in order.
                    start_new_session=True,
                )
            finally:
                os.close(writing)
            self._process = process
            listening = asyncio.create_task(self._listen(output, log))
            try:
                return await process.wait()
            finally:
                await _stopped(process, self._program.stop_s)
                await asyncio.wait({listening}, timeout=_OUTPUT_END_S)
                listening.cancel()
                await asyncio.wait({listening})

    async def _listen(self, output: BinaryIO, log: BinaryIO) -> None:
        lines = asyncio.StreamReader(limit=LINE_LIMIT_BYTES)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), output
        )
        try:
            await self._hear(lines, log)
        finally:
            transport.close()

    async def _hear(self, lines: asyncio.StreamReader, log: BinaryIO) -> None:
        while True:
            try:
                line = await lines.readline()
            except ValueError:  # longer than the limit: its rest comes as another line
                continue
            if not line:
                return
            kind, _, text = line.decode(errors="replace").strip().partition(" ")
            if kind == lifecycle.READY:
                self._ready.set()
                self._say(self.name, f"ready      {text}".rstrip())
            elif kind == lifecycle.SAY:
                self._last_words = text
                self._say(self.name, text)
            else:
                log.write(line)


async def stop_in_reverse(children: Sequence[Child]) -> None:
    """Stops the last first, so that nobody loses what it stands on."""
    for child in reversed(children):
        await child.stop()


async def _stopped(process: asyncio.subprocess.Process, stop_s: float) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), stop_s)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # itself if it hangs, and what it left behind
    await process.wait()


def _log_file(path: Path) -> BinaryIO:
    """The log, to be appended to; a large one is kept aside once first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_LIMIT_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
    return path.open("ab", buffering=0)


def _ended(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"


def _short(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
