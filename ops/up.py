"""`threadwax up`: runs everything on one machine, with an optional chat in this terminal.

Starts and stops processes. No message passes through it, so none is lost if it is killed.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from ops.demo_weights import NoWeights, weights_path
from ops.embedded_nats import EmbeddedNats
from ops.finetune.errors import BadInput, UnknownAdapter
from ops.finetune.served import adapter_file
from ops.launcher import Launcher, can_fork, import_shared
from ops.nats import CannotRun
from ops.running_instance import running_here
from ops.supervise import NAME_WIDTH, Child, Program, spawned, stop_in_reverse
from ops.up_nats import ready_nats
from ops.up_parts import PARTS, WEB, Part, parts_off
from ops.up_status import CannotServe, Status
from shared import lifecycle
from shared.settings import Settings

READY_DEADLINE_S: Final = 60.0
"""After this time the chat starts anyway, and its questions wait in the stream."""

CHAT_STOP_S: Final = 5.0
LAST_PORT: Final = 65_535

FIRST_PART: Final = 2
"""The first part serves its status this many ports after ours; NATS has none, since we watch it."""

_HTTP_PORT_ENV: Final = "THREADWAX_HTTP_PORT"


def main(settings: Settings, run: Callable[[str], NoReturn], *, chat: bool) -> int:
    """Runs until Ctrl-C, SIGTERM, or the end of the chat; returns the exit code.

    `run` runs a part in a process that was forked for it.
    """
    owner = running_here(settings)
    status = Status(settings, lambda text: _say("up", text))
    if refusal := _refusal(settings, owner, chat=chat):
        name, why = refusal
        _say(name, f"failed     {why}")
        return lifecycle.CANNOT_START
    if owner:
        _say("up", f"joining    {_runs(owner)}: only a chat is added")
        return asyncio.run(_Up(settings, (), None, None, status, chat=True).run())
    parts = _wanted(settings)
    forks = can_fork()
    try:
        nats = asyncio.run(_ready_nats(settings, status, import_shared if forks else _nothing))
    except lifecycle.Stopped:
        return 0
    except CannotRun as error:
        _say("nats", f"failed     {error}")
        return error.exit_code
    except CannotServe as error:
        _say("up", f"failed     {error}")
        return lifecycle.CANNOT_START
    launcher = None
    if forks:
        with contextlib.suppress(OSError):  # no room for a process: parts are tried again, too
            # After the first event loop, so that the parts share the memory that it has written,
            # and before the second, which a fork would copy.
            launcher = Launcher(run)
    return asyncio.run(_Up(settings, parts, nats, launcher, status, chat=chat).run())


async def _ready_nats(
    settings: Settings, status: Status, meanwhile: Callable[[], None]
) -> EmbeddedNats | None:
    await status.serve(lambda: (False, "not ready: nats"))
    try:
        return await ready_nats(settings, lambda text: _say("nats", text), meanwhile)
    finally:
        await status.close()


def _refusal(settings: Settings, owner: int | None, *, chat: bool) -> tuple[str, str] | None:
    """The part that cannot start, and why."""
    highest = LAST_PORT - FIRST_PART - len(PARTS) + 1
    if settings.http_port and settings.http_port > highest:
        needed = LAST_PORT - highest
        return "up", f"--http-port needs {needed} more ports after it: choose {highest} or less"
    if owner and not chat:
        return "up", f"{_runs(owner)}; `threadwax chat` opens a chat with it"
    if settings.demo_model and not owner:
        try:  # without either, every question would fail
            adapter_file(settings, weights_path())
        except (NoWeights, UnknownAdapter, BadInput) as error:
            return "model", str(error)
    return None


def _runs(owner: int) -> str:
    return f"process {owner} already runs everything on this data folder"


def _wanted(settings: Settings) -> list[Part]:
    """Returns the required parts, and says how to enable the others."""
    for part in parts_off(settings):
        _say(part.name, f"off        {part.how}")
    return [part for part in PARTS if part.wanted(settings)]


class _Up:
    def __init__(
        self,
        settings: Settings,
        parts: Sequence[Part],
        nats: EmbeddedNats | None,
        launcher: Launcher | None,
        status: Status,
        *,
        chat: bool,
    ) -> None:
        self._settings = settings
        self._nats = nats
        self._launcher = launcher
        self._chat = chat
        self._parts = parts
        self._children: list[Child] = []
        self._status = status
        self._chat_process: asyncio.subprocess.Process | None = None
        self._interactive = chat and sys.stdin.isatty()
        self._requested_at = 0.0

    async def run(self) -> int:
        stop = asyncio.create_task(self._stop_requested())
        work = asyncio.create_task(self._work())
        watch = asyncio.create_task(self._watch_nats())
        try:
            await asyncio.wait({stop, work, watch}, return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                watch.result()
            return work.result() if work.done() else 0
        finally:
            for task in (work, watch, stop):
                task.cancel()
            await asyncio.wait({work, watch, stop})
            await self._stop_chat()
            await stop_in_reverse(self._children)
            if self._nats is not None:
                # In a thread, so that a second signal can end it at once.
                await asyncio.to_thread(self._nats.close)
            if self._launcher is not None:
                await self._launcher.close()
            await self._status.close()

    async def _work(self) -> int:
        """Starts everything; returns the exit code of the chat, or of a failed start."""
        try:
            await self._status.serve(self._readiness)
        except CannotServe as error:
            _say("up", f"failed     {error}")
            return lifecycle.CANNOT_START
        self._children = [self._child(part) for part in self._parts]
        for child in self._children:
            child.start()
        if self._chat:
            if self._interactive:
                # Only now, so that no status line appears while a person types.
                await self._all_ready()
            return await self._run_chat()
        await self._all_ready()
        self._say_where_the_page_is()
        await asyncio.Event().wait()
        return 0

    async def _watch_nats(self) -> None:
        if self._nats is None:
            await asyncio.Event().wait()
        else:
            await self._nats.watch()

    async def _all_ready(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_DEADLINE_S):
                await asyncio.gather(
                    *(child.ready() for child in self._children), return_exceptions=True
                )

    def _say_where_the_page_is(self) -> None:
        """Prints the last line of a start: the lines of the other parts hide the page's own."""
        for child in self._children:
            if child.name == WEB and child.is_ready:
                page = child.where.partition(",")[0]  # without the address of its status
                _say(WEB, f"open       {page} in a browser; Ctrl-C here stops everything")

    async def _run_chat(self) -> int:
        # In our process group, because only the terminal's foreground group can read from it.
        self._chat_process = await asyncio.create_subprocess_exec(
            *_command("chat"),
            env={
                **os.environ,
                "THREADWAX_HOME": str(self._settings.home),
                lifecycle.PARENT_ENV: str(os.getpid()),
            },
        )
        code = await self._chat_process.wait()
        return (
            code if code >= 0 else 128 - code
        )  # ended by a signal: the exit code that a shell reports

    async def _stop_chat(self) -> None:
        process = self._chat_process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), CHAT_STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _stop_requested(self) -> None:
        """Returns when a person or the system requests a stop."""
        loop = asyncio.get_running_loop()
        requested = asyncio.Event()
        for number in lifecycle.stop_signals():
            loop.add_signal_handler(number, self._on_signal, number, requested)
        await requested.wait()

    def _on_signal(self, number: signal.Signals, requested: asyncio.Event) -> None:
        chatting = self._chat_process is not None and self._chat_process.returncode is None
        if number == signal.SIGINT and self._interactive and chatting:
            return  # Ctrl-C is for the chat, where it stops an answer
        now = asyncio.get_running_loop().time()
        if not requested.is_set():
            self._requested_at = now
        elif now - self._requested_at > lifecycle.SAME_STOP_S:  # the second signal: stop at once
            for child in self._children:
                child.kill()
            if self._nats is not None:
                self._nats.kill()
        requested.set()

    def _readiness(self) -> tuple[bool, str]:
        missing = [child.name for child in self._children if not child.is_ready]
        if self._nats is not None and not self._nats.ready()[0]:
            missing.insert(0, f"nats ({self._nats.ready()[1]})")
        if self._children and not missing:
            return True, "ok"
        return False, f"not ready: {', '.join(missing) or 'all'}"

    def _child(self, part: Part) -> Child:
        environment = {
            "THREADWAX_HOME": str(self._settings.home),
            "THREADWAX_LOG_LEVEL": self._settings.log_level,
        }
        port = self._settings.http_port
        if port is not None:
            # Each part needs a port of its own, counted from ours.
            environment[_HTTP_PORT_ENV] = str(port and port + FIRST_PART + PARTS.index(part))
        log = self._settings.home / "logs" / f"{part.name}.log"
        program = Program(part.name, _command(part.name), log, environment, part.stop_s)
        return Child(program, _say, spawn=self._launcher.spawn if self._launcher else spawned)


def _command(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "ops", name)


def _nothing() -> None:
    """Does nothing while NATS starts: no part is forked, so nothing is imported early."""


def _say(name: str, text: str) -> None:
    sys.stderr.write(f"{name:<{NAME_WIDTH}} {text}\n")
    sys.stderr.flush()
