"""Starts and stops the project's own processes for tests."""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared import user_names
from shared.bus import Bus
from shared.lifecycle import READY, SUPERVISED_ENV
from shared.messages import Ask, Event, Place
from shared.replies import Reply
from tests.namespaces import Host

ROOT = Path(__file__).parent.parent
START_S = 60.0
"""Enough for Python's imports on a busy machine; on an idle one, a start takes 2 to 3 s."""


_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None)


def before_exec() -> None:
    """Runs in the new process. On Linux, the kernel kills it with the *thread* that started it."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored if the tests run under nohup


class Running:
    """A `threadwax` command as a process that logs to a file.

    Start it in a thread that outlives it, because it is killed when that thread ends.
    """

    def __init__(
        self, *command: str, log: Path, env: Mapping[str, str], on: Host | None = None
    ) -> None:
        """`on`: the host that it runs on, if not this one."""
        self.command = command
        self.on = on
        self.source = ROOT
        """The checkout that it runs from."""
        self.log = log
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI", "NATS"))}
        self.env |= {SUPERVISED_ENV: "1", "PYTHONUNBUFFERED": "1"}
        self.env |= env
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Running":
        if self.on is None:
            self._start()
        else:
            self.on.call(self._start)
        return self

    def _start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *(self.command if self.command[0] == "-c" else
                 ("-m", "ops", *self.command))],
                cwd=self.source, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=before_exec,  # noqa: PLW1509  (two system calls, no locks)
            )  # fmt: skip

    async def ready(self) -> "Running":
        """Waits for the log line that says the process is ready."""
        async with asyncio.timeout(START_S):
            while f"{READY} " not in self.log.read_text(errors="replace"):
                assert self.process is not None
                assert self.process.poll() is None, self.log.read_text(errors="replace")[-3000:]
                await asyncio.sleep(0.02)
        return self

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return await asyncio.wait_for(asyncio.to_thread(self.process.wait), START_S)


def dataflow(
    home: Path,
    nats_url: str,
    model_url: str,
    *command: str,
    on: Host | None = None,
    **env: str,
) -> Running:
    """A dataflow with a data folder of its own."""
    home.mkdir(parents=True, exist_ok=True)
    return Running(
        *(command or ("dataflow",)),
        log=home / "dataflow.log",
        on=on,
        env={
            "NATS_URL": nats_url,
            "THREADWAX_HOME": str(home),
            "OPENAI_BASE_URL": model_url,
            "OPENAI_API_KEY": "test-key",
            "THREADWAX_MODEL": "fake",
            **env,
        },
    )


def direct(name: str, platform: str = "test") -> Place:
    """The place of a user's direct messages."""
    return Place(platform=platform, channel=name, audience="direct")


def question(name: str, number: int | str, text: str, **fields: Any) -> Ask:
    """A question of a test user."""
    fields.setdefault("place", direct(name))
    return Ask(
        id=f"{user_names.encoded(name)}-{number}",
        user=user_names.user_of("test", name),
        said_at=datetime.now(UTC),
        text=text,
        **fields,
    )


async def answer_to(bus: Bus, event: Event, *, timeout_s: float = 30.0) -> Reply:
    """Publishes an event, and waits until the journal has its reply."""
    waiting = asyncio.create_task(bus.reply_when_stored(event.user, event.id, timeout_s=timeout_s))
    await bus.publish(event)
    reply = await waiting
    assert reply is not None, f"no reply to {event.id} within {timeout_s} s"
    return reply
