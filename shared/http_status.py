"""Serves health checks for orchestrators and metrics for Prometheus, by default on loopback."""

import os
from collections.abc import Callable

from aiohttp import web
from prometheus_client import generate_latest


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
    host: str, port: int, *, ready: Callable[[], tuple[bool, str]]
) -> tuple[web.AppRunner, int]:
    """Serves `/healthz`, `/readyz` and `/metrics`; returns the runner, for cleanup, and the port.

    `ready` returns whether the process can work now and, if not, the reason in plain words.

    Raises:
        CannotListen: the port is taken, or the address does not belong to this machine.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        good, why = ready()
        return web.Response(text=f"{why}\n", status=200 if good else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
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
