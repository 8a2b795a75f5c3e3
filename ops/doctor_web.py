"""`threadwax doctor web`: checks the page's settings, its port, and where people sign in.

Changes nothing, and never prints the client's secret.
"""

import errno
import socket
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp

from bots.web.settings import WebSettings
from ops.finding import Finding
from ops.web import NOT_INSTALLED, is_installed
from shared.settings import Settings

TIMEOUT_S: Final = 10.0
ALIVE: Final = "ok\n"
"""What the page answers to /healthz; another program on its port does not."""

NEEDED: Final = ("issuer", "authorization_endpoint", "token_endpoint")
"""What signing in needs of the provider's configuration."""

REGISTER: Final = "allow this redirect address for the client at your OpenID Connect provider"


async def web_findings(settings: Settings, web: WebSettings) -> list[Finding]:
    """Checks the page of this data folder, and the provider that people sign in with."""
    if not is_installed():
        return [Finding("ok", "web", "off", NOT_INSTALLED)]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
        page = await _page(session, settings, web)
        return [page, *await _signing_in(session, web)]


async def _page(session: aiohttp.ClientSession, settings: Settings, web: WebSettings) -> Finding:
    address = _text(settings.home / "web" / "url")
    if address and await _is_alive(session, f"{address}/healthz"):
        public = f", for people at {web.url}" if web.url else ""
        return Finding("ok", "web", f"the page answers at {address}{public}")
    if settings.web == "off":
        advice = "`threadwax up` starts it without THREADWAX_WEB=off"
        return Finding("ok", "web", "the page is off", advice)
    taken = [port for port in web.ports if port and _is_taken(web.host, port)]
    if len(taken) == len(web.ports):
        advice = "stop that program, or set THREADWAX_WEB_PORT to another port (0: a free one)"
        return Finding("fail", "web", f"another program uses port {taken[0]}", advice)
    advice = "start `threadwax up` or `threadwax web`"
    return Finding("warn", "web", "the page is not running", advice)


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


async def _is_alive(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return await response.text() == ALIVE
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return False


def _is_taken(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


async def _signing_in(session: aiohttp.ClientSession, web: WebSettings) -> list[Finding]:
    if web.oidc_url is None:
        text = "nobody signs in: everybody on this machine can chat under any name"
        return [Finding("ok", "sign in", text, "set THREADWAX_WEB_OIDC_URL before others use it")]
    try:
        async with session.get(web.oidc_url) as response:
            status, found = response.status, await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return [_refused(f"{web.oidc_url} gives no configuration: {type(error).__name__}")]
    if status != HTTPStatus.OK:
        return [_refused(f"{web.oidc_url} answers {status}")]
    if missing := _missing(found):
        return [_refused(f"{web.oidc_url} names no {missing[0]}")]
    where = f"people sign in at {found['authorization_endpoint']} (issuer {found['issuer']})"
    return [Finding("ok", "sign in", where), Finding("ok", "redirect", web.redirect_uri, REGISTER)]


def _missing(found: Any) -> list[str]:
    fields = found if isinstance(found, dict) else {}
    return [name for name in NEEDED if not isinstance(fields.get(name), str)]


def _refused(what: str) -> Finding:
    advice = (
        "check THREADWAX_WEB_OIDC_URL: it is the issuer's address, followed by "
        "/.well-known/openid-configuration"
    )
    return Finding("fail", "sign in", what, advice)
