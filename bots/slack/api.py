"""Slack's Web API: the clients, and what its refusals mean to us.

It must never repeat a call by itself: whoever calls knows whether a repeat is harmless.
"""

import asyncio
import logging
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from bots.platform import Forbidden, Gone, Later, Never, PostError, bounded_s

CALL_TIMEOUT_S: Final = 10.0
"""A call that hangs is given up; Slack itself answers within 3 s or not at all."""

CONNECTIONS: Final = 100
AGAIN_S: Final = 1.0
"""After an outage without a word from Slack about how long to wait."""

TOKEN_AGAIN_S: Final = 60.0
"""A revoked token or a missing scope is mended by a person, who takes minutes."""

REFUSED_AGAIN_S: Final = 30.0
"""Before the next try, after an unknown code refused even the barest form of a message."""

TOO_LONG: Final = frozenset({"msg_too_long", "no_text"})
"""Codes that refuse the text itself: giving up other arguments does not help."""

NO_STREAM: Final = frozenset(
    {"message_not_in_streaming_state", "streaming_state_conflict", "message_not_found",
     "stopped_by_user"}
)  # fmt: skip

NOT_THERE: Final = "message_not_found"

NOTHING_THERE: Final = frozenset(
    {"thread_not_found", "channel_not_found", "not_in_channel", "is_archived", "missing_scope",
     "message_not_found", "user_not_found", "user_disabled", "cannot_dm_bot"}
)  # fmt: skip
"""Refusals of a read that mean that none of our messages can be found there."""

THREAD_REFUSED: Final = frozenset(
    {
        "thread_not_found", "invalid_thread_ts", "cannot_reply_to_message", "thread_locked",
        "restricted_action_thread_locked", "restricted_action_non_threadable_channel",
    }
)  # fmt: skip
"""Nobody can write in this thread; the top of the channel may still be open."""

_GONE: Final = frozenset(
    {
        "channel_not_found", "is_archived", "thread_not_found", "user_not_found", "user_disabled",
        "messages_tab_disabled", "cannot_dm_bot", "team_not_found", "invalid_thread_ts",
        "cannot_reply_to_message",
    }
)  # fmt: skip
_FORBIDDEN: Final = frozenset(
    {
        "not_in_channel", "restricted_action", "restricted_action_read_only_channel",
        "restricted_action_thread_only_channel", "restricted_action_non_threadable_channel",
        "restricted_action_thread_locked", "thread_locked", "no_permission", "access_denied",
        "team_access_not_granted", "ekm_access_denied", "as_user_not_supported",
    }
)  # fmt: skip
PLACE_REFUSED: Final = (_GONE | _FORBIDDEN) - THREAD_REFUSED
"""The bot cannot write in this channel; a direct message may still reach the asker."""

_TOKEN: Final = frozenset(
    {
        "invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired",
        "missing_scope", "not_allowed_token_type", "org_login_required",
    }
)  # fmt: skip
_OUTAGES: Final = frozenset(
    {
        "fatal_error", "internal_error", "service_unavailable", "request_timeout",
        "team_added_to_org", "messaging_processing_failed", "external_channel_migrating",
    }
)  # fmt: skip
"""Slack itself has a problem, and may have carried out a part of the call."""

_NEVER: Final = frozenset(
    {
        "invalid_arguments", "invalid_metadata_format", "invalid_metadata_schema",
        "metadata_too_large", "too_many_attachments", "markdown_text_conflict", "invalid_blocks",
        "invalid_blocks_format", "msg_blocks_too_long",
    }
)  # fmt: skip
_CALL_ERRORS: Final = (SlackClientError, aiohttp.ClientError, TimeoutError, OSError)

_PASSING: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
"""Refusals that say nothing about the method."""

_SOCKET_MODE: Final = "slack_sdk/socket_mode/"

CallError = SlackClientError | aiohttp.ClientError | TimeoutError | OSError


def quiet_logger() -> logging.Logger:
    """For Bolt and the SDK, whose other lines hold whole messages and signatures."""
    logger = logging.getLogger("slack")
    logger.setLevel(logging.ERROR)
    logger.addFilter(_one_line_a_failed_call)
    return logger


def _one_line_a_failed_call(record: logging.LogRecord) -> bool:
    """A traceback where Socket Mode could not connect anew is no defect: the line is watched."""
    error = record.exc_info[1] if record.exc_info else None
    if _SOCKET_MODE in record.pathname and error is not None and is_call_error(error):
        record.msg = f"Slack's SDK could not reach Slack and is watched: {type(error).__name__}"
        record.args, record.exc_info = (), None
    return True


def new_session() -> aiohttp.ClientSession:
    """The connections of all clients; needs a running loop."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S),
    )


def client_of(token: str | None, api_url: str, session: aiohttp.ClientSession) -> AsyncWebClient:
    """A client that repeats nothing: the SDK's own repeats are how answers come twice."""
    return AsyncWebClient(
        token=token,
        base_url=api_url,
        session=session,
        trust_env_in_session=False,
        retry_handlers=[],
        logger=quiet_logger(),
    )


def code_of(error: BaseException) -> str:
    """Slack's own word for what went wrong; empty where it said none."""
    data = getattr(error.response, "data", None) if isinstance(error, SlackApiError) else None
    return str(data.get("error") or "") if isinstance(data, dict) else ""


def _status_of(error: BaseException) -> int:
    """The HTTP status of a call that failed; 0 where none came."""
    if isinstance(error, aiohttp.ClientResponseError):  # the body was no JSON
        return error.status
    if not isinstance(error, SlackApiError):
        return 0
    # The SDK passes its own response, or aiohttp's if it could not read the body.
    found = getattr(error.response, "status_code", None) or getattr(error.response, "status", 0)
    return found if isinstance(found, int) else 0


def lacks_method(error: BaseException) -> bool:
    """Whether a method does not exist there.

    An emulator knows only some methods, and a proxy lets only some through: those answer with a
    bare 404 or the like, without Slack's JSON.
    """
    if code := code_of(error):
        return code == "unknown_method"
    status = _status_of(error)
    refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    return (refused and status not in _PASSING) or status == HTTPStatus.NOT_IMPLEMENTED


def wait_of(error: BaseException) -> float | None:
    """How long Slack says to wait; None where it does not."""
    if not isinstance(error, SlackApiError) or not _is_limit(error):
        return None
    headers: dict[str, Any] = {str(k).lower(): v for k, v in error.response.headers.items()}
    try:
        return bounded_s(float(headers.get("retry-after", "")))
    except ValueError:
        return AGAIN_S


def _is_limit(error: SlackApiError) -> bool:
    limited = code_of(error) in {"ratelimited", "rate_limited"}
    return limited or _status_of(error) == HTTPStatus.TOO_MANY_REQUESTS


def is_call_error(error: BaseException) -> bool:
    """Whether a call to Slack failed, for whatever reason."""
    return isinstance(error, _CALL_ERRORS)


CALL_ERRORS: Final = _CALL_ERRORS


def is_refusal(error: BaseException) -> bool:
    """Whether Slack understood a call and will not do it, for whatever it was asked.

    False for an outage, a limit, or a token that a person has to renew: those pass.
    """
    code = code_of(error)
    return bool(code) and wait_of(error) is None and code not in _TOKEN | _OUTAGES


def post_error(error: BaseException) -> PostError:
    """What the relay does about a call that failed while it showed a part."""
    code = code_of(error)
    if (wait_s := wait_of(error)) is not None:
        return Later("Slack's rate limit", wait_s)
    if code in _TOKEN:
        return Later(f"Slack refuses the token: {code}", TOKEN_AGAIN_S)
    for kind, codes in ((Gone, _GONE), (Forbidden, _FORBIDDEN), (Never, _NEVER | TOO_LONG)):
        if code in codes:
            return kind(code)
    if is_refusal(error):
        return Later(f"Slack refuses it: {code}", REFUSED_AGAIN_S, refused=True)
    # Everything else: an outage, a time-out, a response that never came. It may have been taken.
    reason = code or type(error).__name__
    return Later(f"Slack does not take it now: {reason}", AGAIN_S, maybe_posted=True)


async def ignoring(*calls: Any) -> None:
    """Makes calls whose failure matters to nobody."""
    for result in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(result, BaseException) and not is_call_error(result):
            raise result
