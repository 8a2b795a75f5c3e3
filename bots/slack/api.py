"""Clients of Slack's Web API.

They must never repeat a call by themselves: only the caller knows whether a repeat is harmless.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any, Final

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse
from typing_extensions import override

from bots.slack.errors import WRONG_TOKEN, code_of, is_call_error

CALL_TIMEOUT_S: Final = 10.0
"""Slack answers within 3 s or not at all."""

CONNECTIONS: Final = 100

_SOCKET_MODE: Final = "slack_sdk/socket_mode/"


def _new_socket(address: tuple[int, int, int, str, Any]) -> socket.socket:
    """A socket that gives an unacknowledged request up when its call does.

    Otherwise the kernel could deliver it minutes later, when another process has posted the part.
    """
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # on Linux
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(CALL_TIMEOUT_S * 1000))
    return made


def new_session() -> aiohttp.ClientSession:
    """The connections of all clients; needs a running loop."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS, socket_factory=_new_socket),
        timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S),
    )


class _Client(AsyncWebClient):
    """Reports that Slack no longer takes its token."""

    def __init__(self, on_refused_token: Callable[[], None] | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._on_refused_token = on_refused_token

    @override
    async def api_call(self, *args: Any, **kwargs: Any) -> AsyncSlackResponse:
        try:
            return await super().api_call(*args, **kwargs)
        except SlackApiError as error:
            if self._on_refused_token is not None and code_of(error) in WRONG_TOKEN:
                self._on_refused_token()
            raise


def client_of(
    token: str | None,
    api_url: str,
    session: aiohttp.ClientSession,
    *,
    on_refused_token: Callable[[], None] | None = None,
) -> AsyncWebClient:
    """A client without the SDK's retries, which could post an answer twice."""
    return _Client(
        on_refused_token,
        token=token,
        base_url=api_url,
        session=session,
        trust_env_in_session=False,
        retry_handlers=[],
        logger=quiet_logger(),
    )


def quiet_logger() -> logging.Logger:
    """The logger for Bolt and the SDK: errors only, since other lines hold messages and tokens."""
    logger = logging.getLogger("slack")
    logger.setLevel(logging.ERROR)
    logger.addFilter(_without_tracebacks)
    return logger


def _without_tracebacks(record: logging.LogRecord) -> bool:
    """Shortens the SDK's line about a lost connection: `socket_mode.py` replaces the connection."""
    error = record.exc_info[1] if record.exc_info else None
    if _SOCKET_MODE in record.pathname and error is not None and is_call_error(error):
        record.msg = f"Slack's SDK could not reach Slack: {type(error).__name__}"
        record.args, record.exc_info = (), None
    return True


async def ignoring_failures(*calls: Any) -> None:
    """Makes calls whose failure does not matter."""
    for result in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(result, BaseException) and not is_call_error(result):
            raise result
