"""Serves Streamlit's pages with uvicorn, in the event loop that bus and relay run in.

It must never be reachable under a host name that nobody configured.
"""

import asyncio
import contextlib
import errno
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import streamlit as st
import uvicorn
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from streamlit.web import bootstrap
from typing_extensions import override

from bots.adapter import Misconfigured
from bots.web.disconnects import Disconnects
from bots.web.protection import Protection
from bots.web.settings import LOOPBACK, WebSettings
from shared.private_file import private_file, private_text
from shared.tasks import end

PAGE: Final = Path(__file__).parent / "page.py"
STARTED_POLL_S: Final = 0.01
GRACE_S: Final = 3
WAITING_CONNECTIONS: Final = 2048
COOKIE_BYTES: Final = 32


class _Uvicorn(uvicorn.Server):
    @contextlib.contextmanager
    @override
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals to `shared.lifecycle`."""
        yield


class Server:
    """The web server. Make it before the event loop serves anything: it opens its port at once."""

    def __init__(self, settings: WebSettings, home: Path) -> None:
        """Opens the port.

        Raises:
            Misconfigured: the port is taken, or the address does not belong to this machine.
        """
        self._socket = _listening(settings)
        here = _address_of(self._socket)
        self.address = settings.url or here
        private_file(home / "web" / "url", f"{here}\n")
        self._config = uvicorn.Config(
            _app(settings, home),
            log_config=None,
            ws="websockets-sansio",
            timeout_graceful_shutdown=GRACE_S,
        )
        self._server: _Uvicorn | None = None

    @property
    def started(self) -> bool:
        """Whether pages are served."""
        return self._server is not None and self._server.started

    async def serve(self, started: Callable[[], None]) -> None:
        """Serves until it is stopped; calls `started` once it does."""
        self._server = _Uvicorn(self._config)
        serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        try:
            while not self._server.started and not serving.done():  # noqa: ASYNC110  (uvicorn's flag)
                await asyncio.sleep(STARTED_POLL_S)
            started()
            await serving
        finally:
            await end(serving)
            self._socket.close()

    def stop(self) -> None:
        """Ends `serve`; open pages reconnect to the next process."""
        if self._server is not None:
            self._server.should_exit = True


def _listening(settings: WebSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    for port in settings.ports:
        try:
            return socket.create_server(
                (settings.host, port), family=family, backlog=WAITING_CONNECTIONS
            )
        except OSError as error:
            number = error.errno or 0  # negative: the host name is unknown
            why = os.strerror(number) if number > 0 else error.strerror
            if number != errno.EADDRINUSE:
                break
    raise Misconfigured(
        f"the page cannot be served on {settings.host}:{port}: {why}. Set "
        "THREADWAX_WEB_PORT to another port (0 takes a free one), or THREADWAX_WEB_HOST to an "
        "address of this machine."
    )


def _address_of(listening: socket.socket) -> str:
    """Where a browser on this machine finds the page."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (not bound here)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _app(settings: WebSettings, home: Path) -> Any:
    known_as = None if settings.url is None else urlsplit(settings.url).hostname
    hosts = LOOPBACK | ({known_as} if known_as else set())
    is_secure = settings.url is not None and settings.url.startswith("https:")

    async def healthz(_: Request) -> PlainTextResponse:
        return PlainTextResponse("ok\n")

    signing_in: Any = None
    if settings.oidc_url is not None:
        assert settings.oidc_client_secret is not None  # noqa: S101  (validated with oidc_url)
        signing_in = {
            "auth": {
                "redirect_uri": settings.redirect_uri,
                "cookie_secret": _cookie_secret(home / "web" / "cookie_secret"),
                "client_id": settings.oidc_client_id,
                "client_secret": settings.oidc_client_secret.get_secret_value(),
                "server_metadata_url": settings.oidc_url,
            }
        }
    app = st.App(
        PAGE,
        secrets=signing_in,
        routes=[Route("/healthz", healthz)],
        middleware=[
            Middleware(Disconnects),
            Middleware(Protection, hosts=hosts, secure=is_secure),
        ],
    )
    # Only now is the script known, beside which Streamlit looks for .streamlit/config.toml.
    bootstrap.load_config_options({"server.allowedHosts": sorted(hosts)})
    return app


def _cookie_secret(file: Path) -> str:
    """The key of the cookies; kept, or a restart would sign everybody out."""
    if (known := private_text(file)) is not None:
        return known
    made = secrets.token_hex(COOKIE_BYTES)
    private_file(file, made)
    return made
