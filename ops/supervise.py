"""Keeps child processes running: restarts them with backoff when they die, and stops them in order.

Knows nothing about what they do. Must never leave a process behind, however it ends itself.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from shared import lifecycle

BACKOFF_FIRST_S: Final = 0.5
BACKOFF_LAST_S: Final = 30.0

HEALTHY_S: Final = 60.0
"""After this uptime, the next crash counts as the first."""

STOP_DEADLINE_S: Final = 10.0
"""After this time, a process that does not stop is killed. Servers stop in a tenth of a second."""

LOG_LIMIT_BYTES: Final = 10 << 20
LINE_LIMIT_BYTES: Final = 1 << 20
NAME_WIDTH: Final = 10

_NO_CODE: Final = -(1 << 16)
"""The exit code if no process was started. Other negative codes mean signals."""

_NOT_RESTARTED: Final = "not restarted until this is fixed"

_DOUBLINGS: Final = 32  # enough for every limit, and no overflow of a float
_OUTPUT_END_S: Final = 1.0  # its own child can keep the output open a moment longer

Say = Callable[[str, str], None]
"""Shows people a process's name and one line about it."""


class Ended(Exception):
    """A process ended before it was ready, or is not restarted. The text is its last message."""


@dataclass(frozen=True, slots=True)
class Program:
    """A command and its name. Its output goes to `log`; a READY line in it makes it ready."""

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_s: float = STOP_DEADLINE_S


class Process(Protocol):
    """A started process, as asyncio has it."""

    pid: int

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""

    async def wait(self) -> int:
        """Waits for the end; returns the exit code."""

    def terminate(self) -> None:
        """Sends SIGTERM."""


Spawn = Callable[[Program, int, BinaryIO], Awaitable[Process]]
"""Starts a program whose output goes to a descriptor, and whose errors go to its log."""


async def spawned(program: Program, output: int, log: BinaryIO) -> Process:
    """Starts the command of a program."""
    return await asyncio.create_subprocess_exec(
        *program.command,
        env={**os.environ, **program.environment, **lifecycle.child_environment()},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=log,
        # Ctrl-C is for the supervisor only, which stops its children in order.
        start_new_session=True,
    )


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before each restart."""

    first_s: float = BACKOFF_FIRST_S
    last_s: float = BACKOFF_LAST_S
    healthy_s: float = HEALTHY_S

    def wait_s(self, crashes: int) -> float:
        """Returns the wait after the nth consecutive crash (n >= 1)."""
        return float(min(self.first_s * 2 ** min(crashes - 1, _DOUBLINGS), self.last_s))


class Child:
    """A supervised process. Start it in the main thread: on Linux it ends with the thread."""

    def __init__(
        self, program: Program, say: Say, backoff: Backoff | None = None, spawn: Spawn = spawned
    ) -> None:
        self._program = program
        self._say = say
        self._spawn = spawn
        self._backoff = backoff or Backoff()
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._first_end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._last_message = ""
        self._where = ""

    @property
    def name(self) -> str:
        """The name of the program."""
        return self._program.name

    @property
    def is_ready(self) -> bool:
        """Whether it is running and has reported that it is ready."""
        return self._ready.is_set()

    @property
    def where(self) -> str:
        """What it said when it was last ready, for example its address."""
        return self._where

    @property
    def pid(self) -> int | None:
        """The process id, if it is running."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else None

    def start(self) -> None:
        """Starts the process and keeps it running until `stop`."""
        self._task = asyncio.create_task(self._keep_running(), name=self.name)

    async def ready(self) -> None:
        """Waits until the process is ready.

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
        """Stops the process with SIGTERM, then kills its process group with SIGKILL."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    def kill(self) -> None:
        """Kills the process group at once, also while `stop` waits for it."""
        if (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    async def _keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        crashes = 0
        while True:
            started = loop.time()
            self._last_message = ""
            try:
                code = await self._run_once()
                why = f"{_exit_reason(code)}; see {_relative(self._program.log)}"
            except OSError as error:  # for example, its log cannot be opened
                code, why = _NO_CODE, f"it cannot be started: {error.strerror}: {error.filename}"
            self._ready.clear()
            uptime_s = loop.time() - started
            crashes = 1 if uptime_s >= self._backoff.healthy_s else crashes + 1
            if not self._first_end.done():
                self._first_end.set_result(self._last_message or why)
            if code == lifecycle.CANNOT_START:
                # Its last message is already on the screen.
                self._say(self.name, f"stopped    {_NOT_RESTARTED if self._last_message else why}")
                return
            wait_s = self._backoff.wait_s(crashes)
            self._say(self.name, f"restarting in {wait_s:g} s ({why})")
            await asyncio.sleep(wait_s)

    async def _run_once(self) -> int:
        """Runs the process and returns its exit code. If cancelled, stops the process first."""
        # Not asyncio's pipe, with which a process counts as running while one of its children keeps
        # the output open.
        reading, writing = os.pipe()
        with _log_file(self._program.log) as log, os.fdopen(reading, "rb") as output:
            try:
                process = await self._spawn(self._program, writing, log)
            finally:
                os.close(writing)
            self._process = process
            reading_output = asyncio.create_task(self._read_output(output, log))
            try:
                return await process.wait()
            finally:
                await _terminate(process, self._program.stop_s)
                await asyncio.wait({reading_output}, timeout=_OUTPUT_END_S)
                reading_output.cancel()
                await asyncio.wait({reading_output})

    async def _read_output(self, output: BinaryIO, log: BinaryIO) -> None:
        lines = asyncio.StreamReader(limit=LINE_LIMIT_BYTES)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), output
        )
        try:
            await self._read_lines(lines, log)
        finally:
            transport.close()

    async def _read_lines(self, lines: asyncio.StreamReader, log: BinaryIO) -> None:
        while True:
            try:
                line = await lines.readline()
            except ValueError:  # too long: the remainder is read as another line
                continue
            if not line:
                return
            kind, _, text = line.decode(errors="replace").strip().partition(" ")
            if kind == lifecycle.READY:
                self._where = text
                self._ready.set()
                self._say(self.name, f"ready      {text}".rstrip())
            elif kind == lifecycle.SAY:
                self._last_message = text
                self._say(self.name, text)
            else:
                with contextlib.suppress(OSError):  # a full disk must not end the reading
                    log.write(line)


async def stop_in_reverse(children: Sequence[Child]) -> None:
    """Stops the last one first, because later ones depend on earlier ones."""
    for child in reversed(children):
        await child.stop()


async def _terminate(process: Process, stop_s: float) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            os.kill(process.pid, signal.SIGCONT)  # a suspended process takes no SIGTERM
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), stop_s)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # the process if it hangs, and its children
    await process.wait()


def _log_file(path: Path) -> BinaryIO:
    """Opens the log for appending; a large one is first renamed, replacing the last one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_LIMIT_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
    return path.open("ab", buffering=0)


def _exit_reason(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"


def _relative(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
