"""The HTTP client below the one of openai, reduced to our one kind of request."""

import base64
import functools
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import httpx2
import openai

_READ_HERE: Final = frozenset({"content", "headers", "timeout"})

_url: Final = functools.lru_cache(maxsize=64)(httpx2.URL)


def without_login(url: str | None) -> tuple[str | None, str | None]:
    """A URL without its user and password, and the header that sends them to the server."""
    parts = urlsplit(url or "")
    if "@" not in parts.netloc:
        return url, None
    host = parts.netloc.rpartition("@")[2]
    login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    header = f"Basic {base64.b64encode(login.encode()).decode()}"
    return parts._replace(netloc=host).geturl(), header


class HttpClient(openai.DefaultAioHttpClient):
    """Uses aiohttp, which takes a third less processor time per call than the transport of httpx.

    Requests are sent as openai builds them, without the defaults and cookies of httpx, and without
    parsing the same address for each call.
    """

    def build_request(self, method: str, url: httpx2.URL | str, **options: Any) -> httpx2.Request:
        """The request as it is sent."""
        given = {name: value for name, value in options.items() if value is not None}
        timeout = given.get("timeout")
        if not given.keys() <= _READ_HERE or not isinstance(timeout, httpx2.Timeout):
            return super().build_request(method, url, **options)
        return httpx2.Request(
            method,
            _url(url),
            headers=given.get("headers"),
            content=given.get("content"),
            extensions={"timeout": timeout.as_dict()},
        )
