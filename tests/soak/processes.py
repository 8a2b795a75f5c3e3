"""The soak's processes across restarts, their resources, and the files that they write."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from ops.nats_server import NatsServer
from shared.connection import CLOSED_EXIT_CODE
from tests.benchmarks.processes import cpu_s, rss_mb
from tests.running import ROOT, Running

MIB: Final = 1 << 20


class Part:
    """One of our commands. It is restarted if it ends by itself, as by a supervisor."""

    def __init__(self, name: str, home: Path, env: dict[str, str]) -> None:
        self.name = name
        self.since = 0.0
        self.defects: list[str] = []
        self._home = home
        self._env = env
        self._lives = 0
        self._used_s = 0.0
        self._down = True
        self._running: Running | None = None

    @property
    def pid(self) -> int | None:
        """The process id, if it runs."""
        process = self._running.process if self._running else None
        return process.pid if process is not None and process.poll() is None else None

    @property
    def used_s(self) -> float:
        """Processor seconds of all lives."""
        return self._used_s + (_cpu_s(self.pid) if self.pid else 0.0)

    async def start(self) -> None:
        self._lives += 1
        self._down = False
        self.since = time.monotonic()
        log = self._home / "logs" / f"{self.name}-{self._lives}.log"
        self._running = Running(self.name, log=log, env=self._env).start()
        await self._running.ready()

    async def stop(self) -> None:
        """Sends SIGTERM. The process must end cleanly."""
        assert self._running is not None
        self._used_s, self._down = self.used_s, True
        if code := await self._running.stop():
            self.defects.append(f"{self.name} ended with exit code {code} after SIGTERM")

    async def restart_if_ended(self) -> None:
        """Restarts the process if it ended by itself."""
        if self._down or self.pid is not None:
            return
        assert self._running is not None
        assert self._running.process is not None
        code = self._running.process.returncode
        if code != CLOSED_EXIT_CODE:  # asks for a restart, for example after a broken connection
            self.defects.append(f"{self.name} ended by itself with exit code {code}")
        await self.start()

    def kill(self) -> None:
        self._down = True
        if self._running is not None:
            self._running.kill()


class Server:
    """nats-server, with the same interface as `Part`."""

    name = "nats-server"

    def __init__(self, server: NatsServer) -> None:
        self.since = time.monotonic()
        self.defects: list[str] = []
        self._server = server
        self._used_s = 0.0

    @property
    def pid(self) -> int | None:
        return self._server.pid

    @property
    def used_s(self) -> float:
        """Processor seconds of all lives."""
        return self._used_s + (_cpu_s(self.pid) if self.pid else 0.0)

    async def start(self) -> None:
        self.since = time.monotonic()
        # In this thread, because it ends with the thread that started it.
        self._server.launch()
        await asyncio.to_thread(self._server.wait_until_ready)

    async def stop(self) -> None:
        """Sends SIGTERM."""
        self._used_s = self.used_s
        await asyncio.to_thread(self._server.stop)


class FakeProcess:
    """A process with a fake and its users. It serves commands by `users.run`."""

    def __init__(self, process: asyncio.subprocess.Process, env: Any) -> None:
        self.env = env
        self.pid: int = process.pid
        self._process = process
        self._lock = asyncio.Lock()

    async def call(self, do: str, **arguments: Any) -> Any:
        """Sends a command and returns its result."""
        assert self._process.stdin is not None
        async with self._lock:
            self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            return await _line(self._process)


@contextlib.asynccontextmanager
async def fake_process(
    module: str, seed: int, log: Path, **options: str
) -> AsyncIterator[FakeProcess]:
    """Runs such a process. It ends when its standard input closes."""
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"tests.soak.{module}", str(seed),
            *(f"{name}={value}" for name, value in options.items()),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT, limit=1 << 24,
        )  # fmt: skip
    try:
        yield FakeProcess(process, await _line(process))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _line(process: asyncio.subprocess.Process) -> Any:
    assert process.stdout is not None
    line = await process.stdout.readline()
    assert line, "a fake ended: see its log"
    return json.loads(line)


# --- resources ----------------------------------------------------------------------------------


def used_by(pid: int) -> dict[str, float]:
    """Returns the memory, open files and threads of a process and its descendants."""
    pids = _tree(pid)
    return {
        "rss_mb": sum(map(rss_mb, pids)),
        "fds": sum(len(list(Path(f"/proc/{one}/fd").iterdir())) for one in pids),
        "threads": sum(len(list(Path(f"/proc/{one}/task").iterdir())) for one in pids),
    }


def _cpu_s(pid: int) -> float:
    return sum(map(cpu_s, _tree(pid)))


def _tree(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found


def file_sizes(home: Path) -> dict[str, int]:
    """Returns the bytes of each part of the data folders. Files can disappear meanwhile."""
    found: dict[str, int] = {}
    for folder, _, names in os.walk(home):
        for name in names:
            path = Path(folder, name)
            with contextlib.suppress(FileNotFoundError):
                part = _part_of(path.relative_to(home))
                found[part] = found.get(part, 0) + path.stat().st_size
    return found


def _part_of(path: Path) -> str:
    folders = path.parts
    if "streams" in folders:
        stream = folders[folders.index("streams") + 1]
        return f"stream {stream}" if stream in _LARGE else "other"
    if path.suffix == ".log":
        return "logs"
    if path.name.startswith("conversations.db"):
        return "stored conversations"
    return "other" if folders[0] in ("nats", "dataflow") else f"store of {folders[0]}"


_LARGE: Final = ("PROMPTS", "REPLIES", "KV_RECEIPTS")
