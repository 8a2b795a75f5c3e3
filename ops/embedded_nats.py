"""The nats-server of a data folder, kept running, for `threadwax nats` and `threadwax up`.

Keeps no messages itself, so nothing is lost if it is killed.
"""

import asyncio
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ops.nats import REPLICAS, CannotRun, set_up_exit_code, set_up_fault, set_up_streams
from ops.nats_server import DidNotStart, NatsServer
from shared import lifecycle
from shared.lock import AlreadyRunning
from shared.private_file import private_file
from shared.settings import Settings

WATCH_S: Final = 1.0
UNHEALTHY_LIMIT_S: Final = 15.0
"""The server is restarted after it was unhealthy this long for an unknown reason."""

FREE_NEEDED_BYTES: Final = 16 << 20
"""Free space, two blocks of a stream, at which a disk no longer counts as full."""

BACKOFF_FIRST_S: Final = 0.5
BACKOFF_LAST_S: Final = 30.0


def main(settings: Settings, *, port: int | None) -> int:
    """Runs the embedded server until a signal stops it; returns the exit code."""
    try:
        return asyncio.run(_run(EmbeddedNats(settings, lifecycle.say, port=port), settings))
    except lifecycle.Stopped:
        return 0
    except CannotRun as error:
        lifecycle.say(str(error))
        return error.exit_code


async def _run(nats: "EmbeddedNats", settings: Settings) -> int:
    stop = asyncio.create_task(lifecycle.wait_for_stop())
    runner = None
    try:
        where = await lifecycle.unless_stopped(stop, nats.start())
        if settings.http_port is not None:
            from shared.http_status import serve_status

            runner, bound = await serve_status(
                settings.http_host, settings.http_port, folder=settings.home, ready=nats.ready
            )
            where = f"{where} (status on {settings.http_host}:{bound})"
        lifecycle.ready(where)
        await lifecycle.unless_stopped(stop, nats.watch())
    finally:
        if runner is not None:
            await runner.cleanup()
        nats.close()
    return 0


class EmbeddedNats:
    """Restarts the server if it ends or hangs, or when a full disk has space again.

    Create, start and watch it in the main thread: on Linux the server ends with the thread that
    started it.
    """

    def __init__(
        self, settings: Settings, say: Callable[[str], None], *, port: int | None = None
    ) -> None:
        """Starts the process, without waiting for it; `say` shows people one line about it.

        Raises:
            CannotRun: the folder is in use or not writable, or the port is taken.
        """
        self._settings = settings
        self._say = say
        self._folder = settings.embedded_nats_url_file.parent
        self._problem = "starting"
        self._reported: set[str] = set()
        self._failures = 0
        self._unhealthy_since: float | None = None
        try:
            self._server = NatsServer(self._folder, port=port, say=say)
        except (AlreadyRunning, DidNotStart) as error:
            raise CannotRun(str(error), lifecycle.CANNOT_START) from None
        except OSError as error:
            raise CannotRun(_reason_for(error, self._folder)) from None
        try:
            self._server.launch()
        except (DidNotStart, OSError) as error:
            self.close()
            raise CannotRun(_reason_for(error, self._folder)) from None

    async def start(self) -> str:
        """Waits until the server can be used, with its streams; returns where it is.

        Raises:
            CannotRun: it does not start, or its streams cannot be set up.
        """
        if self._settings.nats_replicas > 1:
            self._say(
                f"{REPLICAS}={self._settings.nats_replicas} has no effect: the server of a data "
                "folder is alone and keeps each message once. To keep more copies, set NATS_URL "
                "to a cluster (docs/deploy.md, Three NATS servers)."
            )
        server, settings = self._server, self._settings
        try:
            await self._until_ready()
            await set_up_streams(
                server.url, keep_days=settings.keep_days, partitions=settings.partitions
            )
            private_file(settings.embedded_nats_url_file, server.address)
        except Exception as error:
            if (fault := set_up_fault(server.guest_url, error)) is not None:
                raise CannotRun(fault, set_up_exit_code(error)) from None
            if isinstance(error, DidNotStart | OSError):
                raise CannotRun(_reason_for(error, self._folder)) from None
            raise
        self._problem = ""
        return f"{server.guest_url}; data in {settings.home}"

    async def _until_ready(self) -> None:
        try:
            await asyncio.to_thread(self._server.wait_until_ready)
        except DidNotStart:
            if not self._server.choose_again():
                raise
            self._server.launch()
            await asyncio.to_thread(self._server.wait_until_ready)

    def close(self) -> None:
        """Stops the server."""
        # Clients that come now see that no server is running, and wait for the next start.
        self._settings.embedded_nats_url_file.unlink(missing_ok=True)
        self._server.close()

    def kill(self) -> None:
        """Ends the server at once, also while `close` waits for it."""
        self._server.kill()

    def ready(self) -> tuple[bool, str]:
        """Whether the server works; if not, the reason in plain words."""
        return not self._problem, self._problem or "ok"

    async def watch(self) -> None:
        """Keeps the server running, until it is cancelled."""
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                await self._check()
            except OSError as error:  # for example, the data folder is away
                self._report_once("check", f"NATS cannot be watched: {error}")

    async def _check(self) -> None:
        if (code := self._server.exit_code) is not None:
            wait_s = min(BACKOFF_FIRST_S * 2**self._failures, BACKOFF_LAST_S)
            self._report_once("ended", f"nats-server ended (exit code {code}) and is restarted")
            await asyncio.sleep(wait_s)
            await self._restart()
            return
        health = await asyncio.to_thread(self._server.health)
        home = self._settings.home
        free = shutil.disk_usage(home).free
        if health.healthy:
            self._recovered()
        elif health.disk_full or free < FREE_NEEDED_BYTES:
            # Stored messages can still be read, so it keeps running until there is space.
            self._report_once(
                "full",
                f"disk full at {home} ({free >> 20} MiB free): new messages are refused; "
                f"NATS is restarted when {FREE_NEEDED_BYTES >> 20} MiB are free",
            )
            if free >= FREE_NEEDED_BYTES:
                await self._restart()
        else:
            now = asyncio.get_running_loop().time()
            self._unhealthy_since = self._unhealthy_since or now
            if now - self._unhealthy_since > UNHEALTHY_LIMIT_S:
                self._report_once(
                    "unhealthy", f"nats-server is unhealthy and is restarted: {health.why}"
                )
                await self._restart()

    async def _restart(self) -> None:
        self._unhealthy_since = None
        try:
            await asyncio.to_thread(self._server.stop)
            self._server.launch()
            await asyncio.to_thread(self._server.wait_until_ready)
        except (DidNotStart, OSError) as error:
            self._failures += 1
            self._report_once("start", _reason_for(error, self._settings.home))
            return
        self._recovered()

    def _report_once(self, kind: str, problem: str) -> None:
        if kind not in self._reported:
            self._reported.add(kind)
            self._say(problem)
        self._problem = problem

    def _recovered(self) -> None:
        self._unhealthy_since = None
        self._failures = 0
        if self._problem:
            self._problem = ""
            self._reported.clear()
            self._say("nats-server is healthy again")


def _reason_for(error: Exception, folder: Path) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"disk full at {folder}: free some space, then start again"
    if isinstance(error, OSError) and not os.access(folder, os.W_OK):
        return (
            f"the data folder {folder} cannot be written: {error.strerror}. Make it writable, or "
            "set THREADWAX_HOME to another folder."
        )
    return str(error)
