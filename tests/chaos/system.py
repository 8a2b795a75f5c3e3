"""The system of the chaos suite: real processes, fake platforms, a proxy in each connection.

`System` is an async context manager. It leaves no process behind, whatever happens inside.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from ops.nats import set_up_streams
from ops.nats_server import NatsServer
from shared.bus import Bus
from shared.connection import CLOSED_EXIT_CODE
from tests.chaos.fault_plan import LINKS
from tests.chaos.model import ChaosModel
from tests.fakes.discord import FakeDiscord
from tests.fakes.slack import APP_TOKEN, BOT_TOKEN, FakeSlack
from tests.fakes.tcp_proxy import TcpProxy
from tests.running import START_S, Running

OURS: Final = ("dataflow", "slack", "discord", "gateway", "recorder", "web")
RECORDED: Final = "recorder/threadwax.sqlite"
"""The database in the data folder of the recorder."""

NATS_DISK_MIB: Final = 96
FLOW_DISK_MIB: Final = 160
"""While it is full, answers go on, and conversations are stored later."""

FAKETIME: Final = tuple(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
"""Debian's libfaketime, if it is installed."""

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108

PROGRAM: Final = """
import select, sys, time
# libfaketime 0.9.10 does not support the system call that Python 3.11 uses for sleep.
time.sleep = lambda seconds: select.select([], [], [], seconds) and None
{mutation}
sys.argv = ["threadwax", *sys.argv[1:]]
from ops.cli import main
main()
"""
"""The program of a process whose wall clock can be stepped, or that lacks a safeguard."""

SLACK_RETRIES_S: Final = (0.3, 0.7, 1.5, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0)
"""Delays between Slack's retries. The real Slack retries for a day."""


@dataclass
class Part:
    """One of our processes, across restarts. It is restarted if it ends by itself."""

    name: str
    home: Path
    env: dict[str, str]
    mutation: str = ""
    options: tuple[str, ...] = ()
    running: Running | None = None
    lives: int = 0
    expected_down: bool = False
    paused: bool = False
    restarts: int = 0
    ended_by_itself: list[int] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)

    def start(self) -> Running:
        self.lives += 1
        self.expected_down = False
        log = self.home / f"{self.name}-{self.lives}.log"
        command = ("-c", PROGRAM.format(mutation=self.mutation), self.name, *self.options)
        self.running = Running(*command, log=log, env=self.env).start()
        assert self.running.process is not None
        self.pids.append(self.running.process.pid)
        return self.running

    @property
    def pid(self) -> int | None:
        process = self.running.process if self.running else None
        return process.pid if process is not None and process.poll() is None else None

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, unless the process is down."""
        if (pid := self.pid) is not None:
            os.kill(pid, number)

    def kill(self) -> None:
        self.expected_down = True
        if self.running is not None:
            self.running.kill()
        self.paused = False

    def clear_clocks(self) -> None:
        """Removes the shared memory that libfaketime leaves when its process is killed."""
        for pid in self.pids:
            for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
                (SHARED_MEMORY / name).unlink(missing_ok=True)

    def restart_if_ended(self) -> None:
        """Restarts the process if it ended by itself, as a supervisor does."""
        if self.running is None or self.expected_down or self.pid is not None:
            return
        assert self.running.process is not None
        self.ended_by_itself.append(self.running.process.returncode)
        self.restarts += 1
        self.start()

    @property
    def defects(self) -> list[str]:
        """Exits that the suite did not cause."""
        return [
            f"{self.name} ended by itself with exit code {code}"
            for code in self.ended_by_itself
            if code != CLOSED_EXIT_CODE  # asks for a restart, for example after a broken connection
        ]


class System:
    """One complete system with its own data folders."""

    def __init__(
        self, home: Path, rng: random.Random, mutations: Mapping[str, str] | None = None
    ) -> None:
        """`mutations`: by process, Python code that removes a safeguard from it."""
        self.home = home
        self._mutations = mutations or {}
        self.rng = rng
        self.slack = FakeSlack()
        self.slack.rng = rng
        self.slack.sockets.retries_s = SLACK_RETRIES_S
        self.discord = FakeDiscord()
        self.model = ChaosModel(rng)
        self.parts: dict[str, Part] = {}
        self.proxies: dict[str, TcpProxy] = {}
        self.can_fill_disks = False
        self.can_step_clocks = bool(FAKETIME)
        self._mounted: list[Path] = []
        self._closing = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._closing.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self._closing.aclose()

    async def _start(self) -> None:
        self.can_fill_disks = self._mount("nats", NATS_DISK_MIB)
        self.can_fill_disks = self._mount("dataflow", FLOW_DISK_MIB) and self.can_fill_disks
        self._closing.callback(self._unmount)
        self.server = NatsServer(self.home / "nats" / "store", port=0)
        self._closing.callback(self._close_server)
        self.server.start()
        await set_up_streams(self.server.url)
        for fake in (self.slack, self.discord, self.model):
            await fake.start()
            self._closing.push_async_callback(fake.stop)
        targets = {"model": self.model.base_url, "slack-api": self.slack.url,
                   "discord-api": self.discord.api_url}  # fmt: skip
        for link in LINKS:
            self.proxies[link] = await TcpProxy.start(targets.get(link, self.server.url))
            self._closing.push_async_callback(self.proxies[link].stop)
        self.slack.files_url = self.proxies["slack-api"].url(f"http://127.0.0.1:{self.slack.port}")
        self._closing.callback(self._kill_all)
        for name in OURS:
            self.parts[name] = Part(
                name, self.home / "logs", self._env(name), self._mutations.get(name, "")
            )
        (self.home / "logs").mkdir(exist_ok=True)
        for part in self.parts.values():
            part.start()
        self.bus = await Bus.connect(self.server.url, name="chaos", on_closed=lambda: None)
        self._closing.push_async_callback(self.bus.close)
        for part in self.parts.values():
            assert part.running is not None
            await part.running.ready()
        await asyncio.wait_for(self.discord.gateway.connected.wait(), START_S)

    def _env(self, name: str) -> dict[str, str]:
        proxies = self.proxies
        home = self.home / name
        home.mkdir(exist_ok=True)
        env = {
            "THREADWAX_WEB_PORT": "0",
            "NATS_URL": proxies[f"{name}-nats"].url(self.server.url),
            "THREADWAX_HOME": str(home),
            "THREADWAX_HTTP_PORT": "0",
            "OPENAI_BASE_URL": proxies["model"].url(self.model.base_url),
            "OPENAI_API_KEY": "test-key",
            "THREADWAX_MODEL": "fake",
            "THREADWAX_CONTEXT_TOKENS": "1000000",
            "THREADWAX_ANSWER_TOKENS": "100",
            "THREADWAX_MODEL_GIVE_UP_S": "4",
            "THREADWAX_MODEL_SILENCE_S": "2",
            **self.slack.env,
            "SLACK_API_URL": proxies["slack-api"].url(self.slack.url),
            **self.discord.env,
            "DISCORD_NEW_MESSAGE_AFTER_S": "0.5",
            "SLACK_NEW_MESSAGE_AFTER_S": "0.5",
            "DISCORD_API_URL": proxies["discord-api"].url(self.discord.api_url),
        }
        if self.can_step_clocks:
            self.set_clock(name, 0)
            env |= {
                "LD_PRELOAD": str(FAKETIME[0]),
                "FAKETIME_TIMESTAMP_FILE": str(self._clock(name)),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        return env

    # --- clocks ---------------------------------------------------------------------------------

    def _clock(self, name: str) -> Path:
        return self.home / f"clock-{name}"

    def set_clock(self, name: str, offset_s: int) -> None:
        """Shifts a process's wall clock by the offset. Takes effect within a second."""
        path = self._clock(name)
        new = path.with_suffix(".new")
        new.write_text(f"{offset_s:+d}\n")
        new.replace(path)

    # --- disks ----------------------------------------------------------------------------------

    def _mount(self, name: str, mib: int) -> bool:
        folder = self.home / name
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, check=False, capture_output=True)
        except OSError:
            return False
        if done.returncode == 0:
            self._mounted.append(folder)
        return done.returncode == 0

    def _unmount(self) -> None:
        for folder in self._mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)

    def fill_disk(self, name: str, leave_bytes: int) -> None:
        """Fills the disk of a process until only `leave_bytes` are free."""
        folder = self.home / name
        with contextlib.suppress(OSError), (folder / "ballast").open("wb") as ballast:
            for _ in range(max(0, shutil.disk_usage(folder).free - leave_bytes) >> 16):
                ballast.write(bytes(1 << 16))

    def free_disk(self, name: str) -> None:
        (self.home / name / "ballast").unlink(missing_ok=True)

    # --- NATS -----------------------------------------------------------------------------------

    async def start_nats(self) -> None:
        """Starts the server in this thread: it ends together with the thread that starts it."""
        self.server.launch()
        await asyncio.to_thread(self.server.wait_until_ready)

    def _close_server(self) -> None:
        if self.server.pid is not None:
            os.kill(self.server.pid, signal.SIGCONT)
        self.server.close()

    def _kill_all(self) -> None:
        for part in self.parts.values():
            part.kill()
            part.clear_clocks()

    # --- logs and secrets -----------------------------------------------------------------------

    def logs(self) -> dict[str, str]:
        """Returns all logs by file name, including those of ended processes and the server."""
        files = [*sorted((self.home / "logs").glob("*.log"))]
        return {file.stem: file.read_text(errors="replace") for file in files}

    def secrets(self) -> tuple[str, ...]:
        """Returns the strings that must not appear in any log."""
        return (BOT_TOKEN, APP_TOKEN, self.discord.token, self.server.url.split("@")[0], "test-key")

    def page_address(self) -> str:
        """The address of the web page through its proxy; each process has another port.

        Raises:
            OSError: it never started yet.
        """
        address = (self._data("web") / "web" / "url").read_text().strip()
        self.proxies["web-page"].retarget(address)
        return self.proxies["web-page"].url(address)

    def _data(self, name: str) -> Path:
        return self.home / name

    def database(self) -> Path:
        """The file that the recorder writes."""
        return self.home / "recorder" / RECORDED

    @property
    def discord_calls(self) -> list[Any]:
        return self.discord.calls
