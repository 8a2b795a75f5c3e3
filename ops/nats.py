"""`threadwax nats`: keeps an embedded nats-server running, or sets up the streams on a foreign one.

Holds no message and no subscription of its own: killed, it loses nothing.
"""

import asyncio
import errno
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ops.nats_server import DidNotStart, NatsServer
from shared import lifecycle, names
from shared.lock import AlreadyRunning
from shared.private_file import private_file
from shared.settings import Settings

WATCH_S: Final = 1.0
SICK_LIMIT_S: Final = 15.0
"""Unwell for so long without a reason that we know, it is started again."""

ROOM_BYTES: Final = 16 << 20
"""Free space at which a full disk counts as over: two blocks of a stream."""

BACKOFF_FIRST_S: Final = 0.5
BACKOFF_LAST_S: Final = 30.0
CLIENT_NAME: Final = "setup"


def main(settings: Settings, *, port: int | None) -> int:
    """Runs the embedded server until it is told to stop; returns the exit code."""
    folder = settings.embedded_nats_url_file.parent
    try:
        server = NatsServer(folder, port=port)
    except (AlreadyRunning, DidNotStart) as error:
        lifecycle.say(str(error))
        return lifecycle.CANNOT_START
    except OSError as error:
        lifecycle.say(_in_words(error, folder))
        return 1
    try:
        # Launched before the imports below: it starts while they are read.
        server.launch()
        return asyncio.run(_run(server, settings))
    except (DidNotStart, OSError) as error:
        lifecycle.say(_in_words(error, folder))
        return 1
    finally:
        # Whoever comes now is told that it does not run, and waits for the next start.
        settings.embedded_nats_url_file.unlink(missing_ok=True)
        server.close()


def set_up_only(settings: Settings) -> int:
    """Sets up the streams on the server of NATS_URL, says what is there; returns the exit code."""
    if not settings.nats_url:
        lifecycle.say(
            "--setup-only needs NATS_URL: the server that should get the streams. The embedded "
            "server gets them whenever it starts."
        )
        return lifecycle.CANNOT_START
    return asyncio.run(_set_up_said(settings.nats_url))


async def set_up_streams(url: str, *, wait_s: float = 5.0) -> list[str]:
    """Creates or updates the streams; returns their names.

    Raises:
        shared.connection.Unavailable: nobody answers there, or refuses us.
        shared.streams.OtherPartitions: the live stream is another one.
        nats.js.errors.APIError: the server refused a stream.
    """
    from shared import streams  # noqa: PLC0415  (while the server starts)
    from shared.bus import Bus  # noqa: PLC0415

    bus = await Bus.connect(
        url, name=CLIENT_NAME, wait_s=wait_s, needs=names.stream_info(names.PROMPTS)
    )
    try:
        await streams.set_up(bus.js)
    finally:
        await bus.close()
    return [config.name or "" for config in streams.stream_configs(1)]


async def _set_up_said(url: str) -> int:
    from shared.connection import without_credentials  # noqa: PLC0415

    try:
        made = await set_up_streams(url)
    except Exception as error:
        if (fault := set_up_fault(url, error)) is None:
            raise
        lifecycle.say(fault)
        return 1
    lifecycle.say(f"NATS at {without_credentials(url)} has the streams {', '.join(made)}")
    return 0


def set_up_fault(url: str, error: Exception) -> str | None:
    """Why the streams could not be set up, in words; None for a defect of ours."""
    import nats.errors  # noqa: PLC0415
    import nats.js.errors  # noqa: PLC0415

    from shared.connection import Unavailable, without_credentials  # noqa: PLC0415
    from shared.streams import OtherPartitions  # noqa: PLC0415

    if isinstance(error, Unavailable | OtherPartitions):
        return str(error)
    if not isinstance(error, nats.errors.Error | TimeoutError):
        return None
    # A denied request is never answered.
    why = getattr(error, "description", None) or (
        "it does not answer" if isinstance(error, TimeoutError) else str(error)
    )
    return (
        f"NATS at {without_credentials(url)} refuses the streams: {why}. Does this user have the "
        "permission to publish $JS.API.>, and is there room (3.3 GiB)?"
    )


async def _run(server: NatsServer, settings: Settings) -> int:
    stopping = asyncio.create_task(lifecycle.wait_for_stop())
    await asyncio.sleep(0)  # from here on a signal stops it cleanly
    server.wait_until_ready()
    await set_up_streams(server.url)
    private_file(settings.embedded_nats_url_file, server.address)
    watch = _Watch(server, settings.home)
    runner = None
    where = f"{server.guest_url}; data in {settings.home}"
    if settings.http_port is not None:
        from shared.http_status import serve_status  # noqa: PLC0415

        runner, bound = await serve_status(
            settings.http_host, settings.http_port, ready=watch.ready
        )
        where = f"{where} (status on {settings.http_host}:{bound})"
    lifecycle.ready(where)
    watching = asyncio.create_task(watch.run())
    await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if watching.done():
        watching.result()
    watching.cancel()
    stopping.cancel()
    if runner is not None:
        await runner.cleanup()
    return 0


@dataclass
class _Watch:
    """Looks after the server: starts it again when it ended, hangs, or has room again."""

    server: NatsServer
    home: Path
    trouble: str = ""
    said: set[str] = field(default_factory=set)
    failures: int = 0
    sick_since: float | None = field(default=None)

    def ready(self) -> tuple[bool, str]:
        return not self.trouble, self.trouble or "ok"

    async def run(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            await self.look()

    async def look(self) -> None:
        if (code := self.server.exit_code) is not None:
            wait_s = min(BACKOFF_FIRST_S * 2**self.failures, BACKOFF_LAST_S)
            self._say_once("ended", f"nats-server ended (exit code {code}); it is started again")
            await asyncio.sleep(wait_s)
            self._restart()
            return
        health = self.server.health()
        free = shutil.disk_usage(self.home).free
        if health.well:
            self._over()
        elif health.disk_full or free < ROOM_BYTES:
            # What is stored can still be read, so it runs on until there is room.
            self._say_once(
                "full",
                f"disk full at {self.home} ({free >> 20} MiB free): new messages are refused; "
                f"NATS is restarted when {ROOM_BYTES >> 20} MiB are free",
            )
            if free >= ROOM_BYTES:
                self._restart()
        else:
            now = asyncio.get_running_loop().time()
            self.sick_since = self.sick_since or now
            if now - self.sick_since > SICK_LIMIT_S:
                self._say_once(
                    "unwell", f"nats-server is unwell and is started again: {health.why}"
                )
                self._restart()

    def _restart(self) -> None:
        self.sick_since = None
        self.server.stop()
        try:
            self.server.start()
        except (DidNotStart, OSError) as error:
            self.failures += 1
            self._say_once("start", _in_words(error, self.home))
            return
        self._over()

    def _say_once(self, kind: str, trouble: str) -> None:
        if kind not in self.said:
            self.said.add(kind)
            lifecycle.say(trouble)
        self.trouble = trouble

    def _over(self) -> None:
        self.sick_since = None
        self.failures = 0
        if self.trouble:
            self.trouble = ""
            self.said.clear()
            lifecycle.say("nats-server is well again")


def _in_words(error: Exception, folder: Path) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"disk full at {folder}: make room, then start again"
    if isinstance(error, OSError) and not os.access(folder, os.W_OK):
        return (
            f"the data folder {folder} cannot be written: {error.strerror}. Make it writable, or "
            "set THREADWAX_HOME to another folder."
        )
    return str(error)
