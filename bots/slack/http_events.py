"""Slack's events over HTTP.

A request that is not Slack's, or that cannot be read, is refused with 4xx before anything else
reads it. 500 means that an event could not be stored, and Slack delivers it again. It must never
log a body or a signature.
"""

import json
import time
from typing import Any, Final
from urllib.parse import parse_qs

from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.signature import SignatureVerifier

from bots.slack.deliveries import Deliveries

PATH: Final = "/slack/events"
BODY_LIMIT_BYTES: Final = 1 << 20
"""Slack's events take a few kB; a message has at most 40,000 characters."""

OLD_S: Final = 300
"""As Slack advises: https://docs.slack.dev/authentication/verifying-requests-from-slack"""

_STAMP: Final = "X-Slack-Request-Timestamp"
_SIGNATURE: Final = "X-Slack-Signature"


class _Refused(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class HttpEvents:
    """The server for Slack's requests, and with OAuth for the installation page."""

    def __init__(self, app: AsyncApp, deliveries: Deliveries, signing_secret: str) -> None:
        self._app = app
        self._deliveries = deliveries
        self._verifier = SignatureVerifier(signing_secret)
        self._runner: web.AppRunner | None = None
        self.open = False
        self.paused = False
        """Requests are refused at once, so that Slack sends them again, to another process."""

    async def start(self, host: str, port: int) -> str:
        """Starts listening; returns the address.

        Raises:
            OSError: the port is taken.
        """
        server = web.Application(client_max_size=BODY_LIMIT_BYTES)
        server.router.add_post(PATH, self._event)
        flow = self._app.oauth_flow
        if flow is not None:
            server.router.add_get(flow.install_path, self._install)
            server.router.add_get(flow.redirect_uri_path, self._installed)
        self._runner = web.AppRunner(server, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.open = True
        bound = self._runner.addresses[0][1]
        return f"http://{host}:{bound}{PATH}"

    async def close(self) -> None:
        """Stops listening, after the requests under way are answered."""
        self.open = False
        if self._runner is not None:
            await self._runner.cleanup()

    async def _event(self, request: web.Request) -> web.Response:
        try:
            body = await self._checked(request)
        except _Refused as error:
            return web.json_response({"error": str(error)}, status=error.status)
        if self.paused:
            return web.json_response({"error": "nothing can be stored now"}, status=503)
        try:
            bolt_request = AsyncBoltRequest(
                body=body, query=request.query_string, headers=dict(request.headers)
            )
        except (TypeError, ValueError, KeyError, AttributeError):
            # Bolt reads ids in the body, which some shapes break.
            return web.json_response({"error": "the body cannot be read"}, status=400)
        response = await self._deliveries.dispatch(bolt_request)
        return await to_aiohttp_response(response)

    async def _checked(self, request: web.Request) -> str:
        stamp, signature = request.headers.get(_STAMP, ""), request.headers.get(_SIGNATURE, "")
        if not stamp.isascii() or not stamp.isdecimal() or len(stamp) > 12:  # noqa: PLR2004
            raise _Refused(400, f"{_STAMP} is missing or not a number")
        if abs(time.time() - int(stamp)) > OLD_S:
            raise _Refused(401, "the request is too old")
        try:
            raw = await request.read()
            body = raw.decode()
        except web.HTTPRequestEntityTooLarge as error:
            raise _Refused(413, "the body is too large") from error
        except UnicodeDecodeError as error:
            raise _Refused(400, "the body is not UTF-8") from error
        if not signature.isascii() or not self._verifier.is_valid(body, stamp, signature):
            raise _Refused(401, "the signature is wrong")
        _check_shape(request.content_type, body)
        return body

    async def _install(self, request: web.Request) -> web.Response:
        flow = self._app.oauth_flow
        assert flow is not None  # noqa: S101  (the route exists only with OAuth)
        return await to_aiohttp_response(await flow.handle_installation(_get(request)))

    async def _installed(self, request: web.Request) -> web.Response:
        flow = self._app.oauth_flow
        assert flow is not None  # noqa: S101
        return await to_aiohttp_response(await flow.handle_callback(_get(request)))


def _get(request: web.Request) -> AsyncBoltRequest:
    return AsyncBoltRequest(body="", query=request.query_string, headers=dict(request.headers))


def _check_shape(content_type: str, body: str) -> None:
    """Refuses bodies that Bolt cannot read."""
    if content_type == "application/json":
        payload = _object(body)
        inner = payload.get("event")
        if payload.get("type") == "event_callback" and not (
            isinstance(inner, dict)
            and isinstance(inner.get("type"), str)
            and isinstance(payload.get("team_id"), str)
        ):
            raise _Refused(400, "the body has no event")
        if not isinstance(payload.get("type"), str):
            raise _Refused(400, "the body has no type")
    elif content_type == "application/x-www-form-urlencoded":
        form = parse_qs(body)
        if "payload" in form:
            _object(form["payload"][0])
        elif "command" not in form and "ssl_check" not in form:
            raise _Refused(400, "neither an event, a command nor an interaction")
    else:
        raise _Refused(415, "neither JSON nor a form")


def _object(text: str) -> dict[str, Any]:
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _Refused(400, "the body is not JSON") from error
    if not isinstance(payload, dict):
        raise _Refused(400, "the body is not a JSON object")
    return payload
