"""`threadwax up`: runs everything on one machine, with an optional chat in this terminal.

Starts and stops processes. No message passes through it, so none is lost if it is killed.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn

from ops.demo_weights import NoWeights, weights_path
from ops.embedded_nats import CannotRun, EmbeddedNats
from ops.finetune.errors import BadInput, UnknownAdapter
from ops.finetune.served import adapter_file
from ops.launcher import Launcher, can_fork
from ops.nats import set_up_exit_code, set_up_fault, set_up_streams
from ops.running_instance import running_here
from ops.supervise import NAME_WIDTH, Child, Program, spawned, stop_in_reverse
from ops.up_parts import PARTS, WEB, Part, parts_off
from shared import lifecycle
from shared.settings import Settings

if TYPE_CHECKING:
    from aiohttp import web

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
    highest = LAST_PORT - FIRST_PART - len(PARTS) + 1
    if settings.http_port and settings.http_port > highest:
        _say("up", f"failed     --http-port needs {LAST_PORT - highest} more ports after it: "
             f"choose {highest} or less")  # fmt: skip
        return lifecycle.CANNOT_START
    launcher = None
    if can_fork():
        with contextlib.suppress(OSError):  # no room for a process: parts are tried again, too
            launcher = Launcher(run)  # before the event loop, which a fork would copy
    return asyncio.run(_Up(settings, launcher, chat=chat).run())


class _Up:
    def __init__(self, settings: Settings, launcher: Launcher | None, *, chat: bool) -> None:
        self._settings = settings
        self._launcher = launcher
        self._chat = chat
        self._nats: EmbeddedNats | None = None
        self._nats_started = asyncio.Event()
        self._children: list[Child] = []
        self._chat_process: asyncio.subprocess.Process | None = None
        self._interactive = chat and sys.stdin.isatty()
        self._requested_at = 0.0

    async def run(self) -> int:
        stop = asyncio.create_task(self._stop_requested())
        try:
            runner = await self._status()
        except OSError as error:
            _say("up", f"failed     {error}")
            return lifecycle.CANNOT_START
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
            if runner is not None:
                await runner.cleanup()

    async def _work(self) -> int:
        """Starts everything; returns the exit code of the chat, or of a failed start."""
        if owner := running_here(self._settings):
            runs = f"process {owner} already runs everything on this data folder"
            if self._chat:
                _say("up", f"joining    {runs}: only a chat is added")
                return await self._run_chat()
            _say("up", f"failed     {runs}; `threadwax chat` opens a chat with it")
            return lifecycle.CANNOT_START
        if self._settings.demo_model:
            try:  # without either, every question would fail
                adapter_file(self._settings, weights_path())
            except (NoWeights, UnknownAdapter, BadInput) as error:
                _say("model", f"failed     {error}")
                return lifecycle.CANNOT_START
        try:
            await self._start_parts()
        except CannotRun as error:
            _say("nats", f"failed     {error}")
            return error.exit_code
        if self._chat:
            if self._interactive:
                # Only now, so that no status line appears while a person types.
                await self._all_ready()
            return await self._run_chat()
        await self._all_ready()
        self._say_where_the_page_is()
        await asyncio.Event().wait()
        return 0

    async def _start_parts(self) -> None:
        """Starts every part, or raises `CannotRun` if NATS is unavailable."""
        children = {part: self._child(part) for part in self._wanted()}
        self._children = list(children.values())
        for part, child in children.items():
            if not part.needs_nats:
                child.start()
        await self._start_nats()
        for part, child in children.items():
            if part.needs_nats:
                child.start()

    def _wanted(self) -> list[Part]:
        """Returns the required parts, and says how to enable the others."""
        for part in parts_off(self._settings):
            _say(part.name, f"off        {part.how}")
        return [part for part in PARTS if part.wanted(self._settings)]

    async def _start_nats(self) -> None:
        if self._settings.nats_url is None:
            self._nats = EmbeddedNats(self._settings, lambda text: _say("nats", text))
            _say("nats", f"ready      {await self._nats.start()}")
            self._nats_started.set()
            return
        from shared.nats_address import without_credentials

        try:
            await set_up_streams(
                self._settings.nats_url,
                keep_days=self._settings.keep_days,
                partitions=self._settings.partitions,
                replicas=self._settings.nats_replicas,
            )
        except Exception as error:
            if (fault := set_up_fault(self._settings.nats_url, error)) is None:
                raise
            raise CannotRun(fault, set_up_exit_code(error)) from None
        _say("nats", f"ready      {without_credentials(self._settings.nats_url)} (NATS_URL)")

    async def _watch_nats(self) -> None:
        await self._nats_started.wait()
        if self._nats is not None:
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

    async def _status(self) -> "web.AppRunner | None":
        if self._settings.http_port is None:
            return None
        from shared.http_status import serve_status

        runner, port = await serve_status(
            self._settings.http_host,
            self._settings.http_port,
            folder=self._settings.home,
            ready=self._readiness,
        )
        _say("up", f"status     http://{self._settings.http_host}:{port}/readyz")
        return runner

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


def _say(name: str, text: str) -> None:
    sys.stderr.write(f"{name:<{NAME_WIDTH}} {text}\n")
    sys.stderr.flush()
