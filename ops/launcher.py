"""Forks the parts of `threadwax up` from a process that has already imported what they share.

Every part uses the same large libraries. Forked parts share many of those pages, and none imports
them again; docs/benchmarks.md has the figures. Linux only.

The launcher must never outlive `up`, nor a part the launcher. If it dies, its parts end, and `up`
starts them again as programs of their own.
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
from typing import Any, BinaryIO, Final, NoReturn

from ops.supervise import Process, Program, spawned
from shared import lifecycle, tuning
from shared.lock import running

SHARED_MODULES: Final = (
    "aiohttp", "bots.adapter", "shared.bus", "shared.follow", "shared.http_status", "shared.pull",
)  # fmt: skip
"""What most parts import. What only one of them uses would be a burden to the others."""

MESSAGE_BYTES: Final = 1 << 16
"""The limit of an order, which contains the variables that a part gets in addition to ours."""

POLL_S: Final = 0.05

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_PR_SET_NAME: Final = 15  # linux/prctl.h
_NAME_BYTES: Final = 15  # the kernel's limit


class Launcher:
    """Starts parts. Create it before the event loop, threads and sockets: those cannot be forked.

    Use it in one event loop, and close it there.
    """

    def __init__(self, run: Callable[[str], NoReturn]) -> None:
        """Forks the launcher's process; in a part's process, `run` is called with its name."""
        with tuning.imports():  # the collector would write to every object, and so copy its page
            for module in SHARED_MODULES:
                import_module(module)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        # Blocked in the launcher: systemd stops all processes at once, but it outlives the parts.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            _live_with(parent, "launcher")
            name = _serve(theirs)
            sys.exit(0) if name is None else run(name)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
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
        return await started

    async def close(self) -> None:
        """Ends the launcher. Stop the parts first."""
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()
        await asyncio.to_thread(os.waitpid, self.pid, 0)

    def _read(self) -> None:
        told, _ = _receive(self._channel)
        if not told:
            self._end()
            return
        report: dict[str, int] = json.loads(told)
        if "error" in report:
            code = report["error"]
            self._refuse(OSError(code, os.strerror(code), "fork"))
        elif "code" in report:
            self._running.pop(report["pid"]).ended.set_result(report["code"])
        else:
            forked = self._running[report["pid"]] = _Forked(report["pid"])
            started = self._orders.popleft()
            if started.cancelled():  # its supervisor was stopped meanwhile
                os.kill(forked.pid, signal.SIGKILL)
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
            forked.wait_as_orphan()


class _Forked:
    """A part's process, whose end the launcher reports."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting: asyncio.Task[None] | None = None

    @property
    def returncode(self) -> int | None:
        return self.ended.result() if self.ended.done() else None

    async def wait(self) -> int:
        return await asyncio.shield(self.ended)

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def wait_as_orphan(self) -> None:
        """The kernel has sent it SIGTERM, and nobody reports its exit code."""
        self._waiting = asyncio.create_task(self._until_gone())

    async def _until_gone(self) -> None:
        while not _is_gone(self.pid):  # noqa: ASYNC110  (nothing tells)
            await asyncio.sleep(POLL_S)
        self.ended.set_result(-signal.SIGTERM)


def _is_gone(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        # The first process of a container is the parent of every orphan.
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    return not running(pid)


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
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
                return str(order["name"])
            for descriptor in descriptors:
                os.close(descriptor)
            if pid is not None:
                parts[os.pidfd_open(pid)] = pid
                _tell(channel, {"pid": pid})


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


def _tell(channel: socket.socket, report: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):  # then the next read finds the end
        channel.send(json.dumps(report).encode())


def _take_standard_streams(output: int, log: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((nothing, output, log)):
        os.dup2(descriptor, number)
        os.close(descriptor)
