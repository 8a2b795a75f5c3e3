"""Health for orchestrators and figures for Prometheus, on loopback unless told otherwise."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import generate_latest


async def serve_status(
    host: str, port: int, *, ready: Callable[[], tuple[bool, str]]
) -> tuple[web.AppRunner, int]:
    """Serves `/healthz`, `/readyz` and `/metrics`; returns the runner, to clean up, and the port.

    `ready` says whether the process can do its work now, and why not in words.

    Raises:
        OSError: the port is taken.
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
    site = web.TCPSite(runner, host, port)
    await site.start()
    bound: int = runner.addresses[0][1]
    return runner, bound
