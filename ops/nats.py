"""`threadwax nats`: runs the embedded nats-server, or sets up the streams on another server.

Keeps no messages itself, so nothing is lost if it is killed.
"""

import asyncio
import errno
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ops.nats_server import DidNotStart, NatsServer
from shared import lifecycle, names
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
CLIENT_NAME: Final = "setup"

REPLICAS: Final = "THREADWAX_NATS_REPLICAS"

_NO_LEADER: Final = frozenset({None, 10008, 10009})
"""Refusals of a cluster that elects a leader; None: nobody answers."""

_TOO_FEW_SERVERS: Final = frozenset({10005, 10074})
"""No server with room for another replica, or no cluster at all."""

_ELECTING_RETRY_S: Final = 0.5


def main(settings: Settings, *, port: int | None) -> int:
    """Runs the embedded server until a signal stops it; returns the exit code."""
    folder = settings.embedded_nats_url_file.parent
    try:
        server = NatsServer(folder, port=port)
    except (AlreadyRunning, DidNotStart) as error:
        lifecycle.say(str(error))
        return lifecycle.CANNOT_START
    except OSError as error:
        lifecycle.say(_reason_for(error, folder))
        return 1
    try:
        # Launch it before the imports below, so that it starts meanwhile.
        server.launch()
        return asyncio.run(_run(server, settings))
    except (DidNotStart, OSError) as error:
        lifecycle.say(_reason_for(error, folder))
        return 1
    finally:
        # Clients that come now see that no server is running, and wait for the next start.
        settings.embedded_nats_url_file.unlink(missing_ok=True)
        server.close()


def set_up_only(settings: Settings) -> int:
    """Sets up the streams on the server of NATS_URL; returns the exit code."""
    if not settings.nats_url:
        lifecycle.say(
            "--setup-only needs NATS_URL, the server that gets the streams. The embedded server "
            "gets them whenever it starts."
        )
        return lifecycle.CANNOT_START
    return asyncio.run(_set_up_and_report(settings.nats_url, settings))


async def set_up_streams(
    url: str,
    *,
    wait_s: float = 5.0,
    keep_days: int | None = None,
    replicas: int = 1,
    partitions: int | None = None,
) -> list[str]:
    """Creates or updates the streams; returns their names.

    `keep_days`, `replicas`: see `streams.set_up`. Waits while a cluster elects a leader.

    Raises:
        shared.connection.Unavailable: no server answers, or it refuses the connection.
        shared.partitioning.OtherPartitions: the existing stream has another number of partitions.
        nats.js.errors.APIError: the server refused a stream.
    """
    from shared import streams
    from shared.bus import Bus

    bus = await Bus.connect(
        url, name=CLIENT_NAME, wait_s=wait_s, needs=names.stream_info(names.PROMPTS)
    )
    try:
        await _while_electing(
            lambda: streams.set_up(
                bus.js, keep_days=keep_days, replicas=replicas, partitions=partitions
            ),
            bus.settles_in_s,
        )
    finally:
        await bus.close()
    return [config.name or "" for config in streams.stream_configs(1)]


async def _while_electing(once: Callable[[], Awaitable[None]], settles_in_s: float) -> None:
    """Repeats `once` for this time, unless the server refuses it for another reason."""
    import nats.errors
    import nats.js.errors

    now = asyncio.get_running_loop().time
    deadline = now() + settles_in_s
    while True:
        try:
            return await once()
        except (nats.errors.Error, TimeoutError) as error:
            code = error.err_code if isinstance(error, nats.js.errors.APIError) else None
            if code not in _NO_LEADER or now() >= deadline:
                raise
            await asyncio.sleep(_ELECTING_RETRY_S)


async def _set_up_and_report(url: str, settings: Settings) -> int:
    from shared.connection import without_credentials

    try:
        made = await set_up_streams(
            url,
            keep_days=settings.keep_days,
            replicas=settings.nats_replicas,
            partitions=settings.partitions,
        )
    except Exception as error:
        if (fault := set_up_fault(url, error)) is None:
            raise
        lifecycle.say(fault)
        return 1
    replicas = settings.nats_replicas
    copies = f", on {replicas} servers each" if replicas > 1 else ""
    lifecycle.say(f"NATS at {without_credentials(url)} has the streams {', '.join(made)}{copies}")
    return 0


def set_up_fault(url: str, error: Exception) -> str | None:
    """Says why the streams could not be set up; None if the error is a defect of ours."""
    import nats.errors
    import nats.js.errors

    from shared.connection import Unavailable, without_credentials
    from shared.partitioning import OtherPartitions

    if isinstance(error, Unavailable | OtherPartitions):
        return str(error)
    if not isinstance(error, nats.errors.Error | TimeoutError):
        return None
    if isinstance(error, nats.js.errors.APIError) and error.err_code in _TOO_FEW_SERVERS:
        return (
            f"NATS at {without_credentials(url)} cannot keep each message on as many servers as "
            f"{REPLICAS} says: {error.description}. That many servers must be running as one "
            "cluster with JetStream (docs/deploy.md, Three NATS servers), each with 3.3 GiB for "
            f"the streams. Start the missing ones, or lower {REPLICAS}."
        )
    # The server never answers a request that permissions forbid.
    why = getattr(error, "description", None) or (
        "it does not answer" if isinstance(error, TimeoutError) else str(error)
    )
    return (
        f"NATS at {without_credentials(url)} refuses the streams: {why}. Allow this user to "
        "publish $JS.API.>, and make sure that the server has 3.3 GiB for the streams."
    )


async def _run(server: NatsServer, settings: Settings) -> int:
    if settings.nats_replicas > 1:
        lifecycle.say(
            f"{REPLICAS}={settings.nats_replicas} has no effect: the server of a data folder is "
            "alone and keeps each message once. To keep more copies, set NATS_URL to a cluster "
            "(docs/deploy.md, Three NATS servers)."
        )
    stopping = asyncio.create_task(lifecycle.wait_for_stop())
    await asyncio.sleep(0)  # from here on, a signal stops the server cleanly
    server.wait_until_ready()
    from shared.partitioning import OtherPartitions

    try:
        await set_up_streams(
            server.url, keep_days=settings.keep_days, partitions=settings.partitions
        )
    except OtherPartitions as error:
        lifecycle.say(str(error))
        return lifecycle.CANNOT_START
    private_file(settings.embedded_nats_url_file, server.address)
    watch = _Watchdog(server, settings.home)
    runner = None
    where = f"{server.guest_url}; data in {settings.home}"
    if settings.http_port is not None:
        from shared.http_status import serve_status

        runner, bound = await serve_status(
            settings.http_host, settings.http_port, folder=settings.home, ready=watch.ready
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
class _Watchdog:
    """Restarts the server if it ends or hangs, or when a full disk has space again."""

    server: NatsServer
    home: Path
    problem: str = ""
    reported: set[str] = field(default_factory=set)
    failures: int = 0
    unhealthy_since: float | None = field(default=None)

    def ready(self) -> tuple[bool, str]:
        return not self.problem, self.problem or "ok"

    async def run(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            await self.check()

    async def check(self) -> None:
        if (code := self.server.exit_code) is not None:
            wait_s = min(BACKOFF_FIRST_S * 2**self.failures, BACKOFF_LAST_S)
            self._report_once("ended", f"nats-server ended (exit code {code}) and is restarted")
            await asyncio.sleep(wait_s)
            self._restart()
            return
        health = self.server.health()
        free = shutil.disk_usage(self.home).free
        if health.healthy:
            self._recovered()
        elif health.disk_full or free < FREE_NEEDED_BYTES:
            # Stored messages can still be read, so it keeps running until there is space.
            self._report_once(
                "full",
                f"disk full at {self.home} ({free >> 20} MiB free): new messages are refused; "
                f"NATS is restarted when {FREE_NEEDED_BYTES >> 20} MiB are free",
            )
            if free >= FREE_NEEDED_BYTES:
                self._restart()
        else:
            now = asyncio.get_running_loop().time()
            self.unhealthy_since = self.unhealthy_since or now
            if now - self.unhealthy_since > UNHEALTHY_LIMIT_S:
                self._report_once(
                    "unhealthy", f"nats-server is unhealthy and is restarted: {health.why}"
                )
                self._restart()

    def _restart(self) -> None:
        self.unhealthy_since = None
        self.server.stop()
        try:
            self.server.start()
        except (DidNotStart, OSError) as error:
            self.failures += 1
            self._report_once("start", _reason_for(error, self.home))
            return
        self._recovered()

    def _report_once(self, kind: str, problem: str) -> None:
        if kind not in self.reported:
            self.reported.add(kind)
            lifecycle.say(problem)
        self.problem = problem

    def _recovered(self) -> None:
        self.unhealthy_since = None
        self.failures = 0
        if self.problem:
            self.problem = ""
            self.reported.clear()
            lifecycle.say("nats-server is healthy again")


def _reason_for(error: Exception, folder: Path) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"disk full at {folder}: free some space, then start again"
    if isinstance(error, OSError) and not os.access(folder, os.W_OK):
        return (
            f"the data folder {folder} cannot be written: {error.strerror}. Make it writable, or "
            "set THREADWAX_HOME to another folder."
        )
    return str(error)
