"""Refuses requests for or from other sites, and has browsers load nothing from elsewhere.

A site that a person visits must not reach a page on that person's own machine, by whatever name.
Answers come from a model and may carry what somebody else wrote: a picture in one would send words
of the conversation to a foreign server.
"""

from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ALLOWED: Final = {
    "default-src": "'self'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "style-src": "'self' 'unsafe-inline'",
    # Streamlit compiles its charts, and starts workers from blobs.
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval'",
    "worker-src": "'self' blob:",
    "frame-src": "'none'",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
"""Where the browser may load what from."""

HEADERS: Final = {
    "Content-Security-Policy": "; ".join(f"{kind} {of}" for kind, of in ALLOWED.items()),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

POLICY_VIOLATION: Final = 1008
"""The code of RFC 6455; before the handshake is accepted, the browser gets 403."""


class Protection:
    """ASGI middleware. `hosts` are the names under which people know this page.

    `secure`: people use https, so their cookies never travel without it.
    """

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str], secure: bool) -> None:
        self._app = app
        self._hosts = hosts
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, and adds the headers to its answer."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
        elif not self._is_ours(Headers(scope=scope)):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            else:
                refused = PlainTextResponse("not served under this name\n", HTTPStatus.FORBIDDEN)
                await refused(scope, receive, send)
        else:
            await self._app(scope, receive, self._protecting(send))

    def _is_ours(self, headers: Headers) -> bool:
        named = [f"//{headers.get('host', '')}"]
        if (origin := headers.get("origin")) is not None:
            named.append(origin)
        return all(_host_of(one) in self._hosts for one in named)

    def _protecting(self, send: Send) -> Send:
        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if self._secure:
                    _keep_to_https(headers)
            await send(message)

        return protected


def _host_of(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _keep_to_https(headers: MutableHeaders) -> None:
    headers["Strict-Transport-Security"] = "max-age=31536000"
    cookies = headers.getlist("set-cookie")
    del headers["set-cookie"]
    for cookie in cookies:
        headers.append("set-cookie", f"{cookie}; Secure")
