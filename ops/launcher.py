"""Forks the parts of `threadwax up` from a process that has already imported what they share.

Forked parts share many pages of those libraries, and none imports them again. Linux only.

The launcher must never outlive `up`, nor a part the launcher. If it dies or hangs, its parts end,
and `up` starts them again as programs of their own.
"""

import asyncio
import collections
import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

from ops.supervise import Process, Program, spawned
from shared import lifecycle, tuning

SHARED_MODULES: Final = (
    "aiohttp", "bots.gateway.run", "shared.blobs", "shared.figures", "shared.http_status",
    "shared.own_history", "shared.pieces", "sqlite3",
)  # fmt: skip
"""What most parts import. What only one of them uses would be a burden to the others."""

MESSAGE_BYTES: Final = 1 << 16  # the limit of an order, which contains a part's own variables

ANSWER_S: Final = 5.0
"""A launcher that does not answer within this time is ended. It answers within a millisecond."""

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_STANDARD_ERROR: Final = 2
_PR_SET_NAME: Final = 15  # linux/prctl.h
_NAME_BYTES: Final = 15  # the kernel's limit


def can_fork() -> bool:
    """Whether parts can be forked and watched here: on Linux 5.3 or newer."""
    if sys.platform != "linux":
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:  # also in some sandboxes
        return False
    return True


def import_shared() -> None:
    """Imports what most parts use. Call it before the launcher is created."""
    with tuning.imports():  # the collector would write to every object, and so copy its page
        for module in SHARED_MODULES:
            import_module(module)


class Launcher:
    """Starts parts. Create it while no event loop and no thread exists: they cannot be forked.

    Use it in one event loop, and close it there.
    """

    def __init__(self, run: Callable[[str], NoReturn]) -> None:
        """Forks the launcher's process; in a part's process, `run` is called with its name.

        Raises:
            OSError: the system has no room for another process.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        # Blocked in the launcher: systemd stops all processes at once, but it outlives the parts.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        try:
            self.pid = os.fork()
        except OSError:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            raise
        if self.pid == 0:
            ours.close()
            _close_all_but(theirs.fileno())
            _live_with(parent, "launcher")
            lifecycle.die_with_parent_signal(signal.SIGKILL)  # ends a suspended one, too
            name = _serve(theirs)
            if name is None:
                sys.exit(0)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            run(name)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
        self._channel = ours
        self._is_gone = False
        self._orders: collections.deque[asyncio.Future[_Forked]] = collections.deque()
        self._running: dict[int, _Forked] = {}

    async def spawn(self, program: Program, output: int, log: BinaryIO) -> Process:
        """Starts the part with the program's name.

        Raises:
            OSError: the system has no room for another process.
        """
        if self._is_gone:
            return await spawned(program, output, log)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel, self._read)
        order = json.dumps({"name": program.name, "environment": dict(program.environment)})
        started: asyncio.Future[_Forked] = loop.create_future()
        self._orders.append(started)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # `_read` sees it, too
            socket.send_fds(self._channel, [order.encode()], [output, log.fileno()])
        late = loop.call_later(ANSWER_S, self._kill)
        try:
            return await started
        finally:
            late.cancel()

    async def close(self) -> None:
        """Ends the launcher. Stop the parts first."""
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()
        self._kill()  # it has nothing to finish, and may be suspended
        self._is_gone = True
        await asyncio.to_thread(os.waitpid, self.pid, 0)

    def _kill(self) -> None:
        if not self._is_gone:  # later, another process can have its id
            os.kill(self.pid, signal.SIGKILL)

    def _read(self) -> None:
        told, descriptors = _receive(self._channel)
        if not told:
            self._end()
            return
        report: dict[str, int] = json.loads(told)
        if "error" in report:
            code = report["error"]
            self._refuse(OSError(code, os.strerror(code), "fork"))
        elif "code" in report:
            self._running.pop(report["pid"]).end(report["code"])
        else:
            pid, (descriptor,) = report["pid"], descriptors
            forked = self._running[pid] = _Forked(pid, descriptor, self._kill)
            started = self._orders.popleft()
            if started.cancelled():  # its supervisor was stopped meanwhile
                forked.send(signal.SIGKILL)
            else:
                started.set_result(forked)

    def _refuse(self, error: OSError) -> None:
        started = self._orders.popleft()
        if not started.cancelled():
            started.set_exception(error)

    def _end(self) -> None:
        self._is_gone = True
        asyncio.get_running_loop().remove_reader(self._channel)
        while self._orders:
            self._refuse(OSError(0, "the launcher ended", "fork"))
        for forked in self._running.values():
            forked.become_orphan()


class _Forked:
    """A part's process. The launcher, its parent, reports the exit code."""

    def __init__(self, pid: int, descriptor: int, report_is_late: Callable[[], None]) -> None:
        self.pid = pid
        self._descriptor = descriptor  # becomes readable at its end
        self._report_is_late = report_is_late
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._late: asyncio.TimerHandle | None = None
        self._is_orphan = False
        self._loop.add_reader(descriptor, self._on_end)

    @property
    def returncode(self) -> int | None:
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def terminate(self) -> None:
        self.send(signal.SIGTERM)

    def send(self, number: signal.Signals) -> None:
        signal.pidfd_send_signal(self._descriptor, number)

    def end(self, code: int) -> None:
        """It has ended with this exit code."""
        if self._late is not None:
            self._late.cancel()
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._ended.set_result(code)

    def become_orphan(self) -> None:
        """The kernel has sent it SIGTERM, and nobody reports its exit code."""
        self._is_orphan = True
        if self._late is not None:
            self._end_as_orphan()

    def _on_end(self) -> None:
        self._loop.remove_reader(self._descriptor)
        if self._is_orphan:
            self._end_as_orphan()
        else:
            self._late = self._loop.call_later(ANSWER_S, self._report_is_late)

    def _end_as_orphan(self) -> None:
        with contextlib.suppress(ChildProcessError):
            # The first process of a container is the parent of every orphan.
            os.waitpid(self.pid, os.WNOHANG)
        self.end(-signal.SIGTERM)


def _close_all_but(kept: int) -> None:
    """Closes what was open before `up` began, as in a program that is started."""
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if number > _STANDARD_ERROR and number != kept:
            with contextlib.suppress(OSError):  # that of the listing
                os.close(number)


def _live_with(parent: int, name: str) -> None:
    """Ends this process with its parent, keeps Ctrl-C from it, and names it."""
    os.environ[lifecycle.PARENT_ENV] = str(parent)
    lifecycle.die_with_parent()
    os.setsid()
    # The name in `top` and `ps -o comm`: the command line is still that of `up`.
    ctypes.CDLL(None).prctl(_PR_SET_NAME, f"threadwax {name}".encode()[:_NAME_BYTES])


def _serve(channel: socket.socket) -> str | None:
    """Forks what is ordered. Returns None when `up` has ended, and in a part's process its name."""
    launcher = os.getpid()
    parts: dict[int, int] = {}  # process ids by descriptors that become readable at their end
    while True:
        readable, _, _ = select.select([channel.fileno(), *parts], [], [])
        for ended in parts.keys() & set(readable):
            os.close(ended)
            _, status = os.waitpid(parts[ended], 0)
            code = os.waitstatus_to_exitcode(status)
            _tell(channel, {"pid": parts.pop(ended), "code": code})
        if channel.fileno() in readable:
            text, descriptors = _receive(channel)
            if not text:
                return None
            order = json.loads(text)
            pid = _fork(channel)
            if pid == 0:
                channel.close()
                for descriptor in parts:
                    os.close(descriptor)
                _take_standard_streams(*descriptors)
                os.environ.update(order["environment"])
                os.environ[lifecycle.SUPERVISED_ENV] = "1"
                _live_with(launcher, order["name"])
                return str(order["name"])
            for descriptor in descriptors:
                os.close(descriptor)
            if pid is not None:
                process = os.pidfd_open(pid)
                parts[process] = pid
                _tell(channel, {"pid": pid}, process)


def _fork(channel: socket.socket) -> int | None:
    try:
        return os.fork()
    except OSError as error:
        _tell(channel, {"error": error.errno or 0})
        return None


def _receive(channel: socket.socket) -> tuple[bytes, list[int]]:
    """The next message and its descriptors; an empty one at the end of the other side."""
    try:
        message, descriptors, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, 2)
    except ConnectionResetError:  # it ended without reading all that we sent
        return b"", []
    return message, descriptors


def _tell(channel: socket.socket, report: dict[str, Any], *descriptors: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # then the next read finds the end
        socket.send_fds(channel, [json.dumps(report).encode()], descriptors)


def _take_standard_streams(output: int, log: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((nothing, output, log)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if sys.stdout is None:  # that of `up` was closed
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  (for good)
