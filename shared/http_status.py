"""Serves health checks for orchestrators and metrics for Prometheus, by default on loopback."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from prometheus_client import generate_latest

from shared import metrics


class CannotListen(OSError):
    """The status page cannot be served at this address; the text says what to do."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        # asyncio's own text repeats the address.
        number = error.errno or 0  # negative: the host name is unknown
        why = os.strerror(number) if number > 0 else error.strerror
        super().__init__(
            f"the status cannot be served on {host}:{port}: {why}. Set THREADWAX_HTTP_PORT to "
            "another port (0 takes a free one), or THREADWAX_HTTP_HOST to an address of this "
            "machine."
        )


async def serve_status(
    host: str, port: int, *, folder: Path, ready: Callable[[], tuple[bool, str]]
) -> tuple[web.AppRunner, int]:
    """Serves `/healthz`, `/readyz` and `/metrics`; returns the runner, for cleanup, and the port.

    `/healthz` says only that the process runs. `ready` returns whether it can work now and, if not,
    the reason in plain words. `folder` is the data folder, whose disk is a metric.

    Raises:
        CannotListen: the port is taken, or the address does not belong to this machine.
    """
    metrics.ready.set_function(lambda: ready()[0])
    metrics.disk_free.set_function(lambda: _free_bytes(folder))

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        good, why = ready()
        return web.Response(text=f"{why}\n", status=200 if good else 503)

    async def prometheus(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", prometheus),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise CannotListen(host, port, error) from None
    bound: int = runner.addresses[0][1]
    return runner, bound


def _free_bytes(folder: Path) -> float:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return float("nan")
