"""What a failed call to Slack means, and what the relay does next. Pure: no I/O.

Slack answers a refused call with a code: https://docs.slack.dev/reference/methods/chat.postMessage.
A code that we do not know must never count as success, nor as proof that nothing was posted.
"""

from http import HTTPStatus
from typing import Any, Final

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError

from bots.platform import Forbidden, Gone, Later, Never, PostError, bounded_s

CALL_ERRORS: Final = (SlackClientError, aiohttp.ClientError, TimeoutError, OSError)
"""Everything that a call to Slack raises."""

_UNANSWERED: Final = (aiohttp.ClientConnectionError, TimeoutError, OSError)

RETRY_S: Final = 1.0
"""Wait before the next try if Slack does not say how long."""

TOKEN_RETRY_S: Final = 60.0
"""The same after a revoked token or a missing scope, which only a person can fix."""

REFUSED_RETRY_S: Final = 30.0
"""The same after Slack refused even the barest variant of a message with an unknown code."""

TEXT_REFUSED: Final = frozenset({"msg_too_long", "no_text"})
"""Codes that refuse the text itself: leaving out other arguments does not help."""

NO_STREAM: Final = frozenset(
    {"message_not_in_streaming_state", "streaming_state_conflict", "message_not_found",
     "stopped_by_user"}
)  # fmt: skip
"""The message is not a stream, or no longer one."""

NOT_THERE: Final = "message_not_found"

NOTHING_THERE: Final = frozenset(
    {"thread_not_found", "channel_not_found", "not_in_channel", "is_archived", "missing_scope",
     "message_not_found", "user_not_found", "user_disabled", "cannot_dm_bot"}
)  # fmt: skip
"""Refusals of a read after which none of our messages can be found there."""

WRONG_TOKEN: Final = frozenset({"invalid_auth", "not_authed", "account_inactive", "token_revoked"})
"""A start with this token must stop, so that a person can replace it."""

THREAD_REFUSED: Final = frozenset(
    {
        "thread_not_found", "invalid_thread_ts", "cannot_reply_to_message", "thread_locked",
        "restricted_action_thread_locked", "restricted_action_non_threadable_channel",
    }
)  # fmt: skip
"""Nobody can write in this thread, but perhaps at the top of the channel."""

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
"""Slack itself has a problem, and may have carried out part of the call."""

_NEVER: Final = frozenset(
    {
        "invalid_arguments", "invalid_metadata_format", "invalid_metadata_schema",
        "metadata_too_large", "too_many_attachments", "markdown_text_conflict", "invalid_blocks",
        "invalid_blocks_format", "msg_blocks_too_long",
    }
)  # fmt: skip
_PASSING: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
"""Statuses that say nothing about whether a method exists."""


def is_call_error(error: BaseException) -> bool:
    """Whether this is the failure of a call to Slack."""
    return isinstance(error, CALL_ERRORS)


def code_of(error: BaseException) -> str:
    """Slack's code for what went wrong; empty if it sent none."""
    data = getattr(error.response, "data", None) if isinstance(error, SlackApiError) else None
    return str(data.get("error") or "") if isinstance(data, dict) else ""


def reason_of(error: BaseException) -> str:
    """Slack's code, or the kind of error: for the log, which must not hold an error's text."""
    return code_of(error) or type(error).__name__


def wait_of(error: BaseException) -> float | None:
    """The seconds that a rate limit asks us to wait; None for any other error."""
    if not isinstance(error, SlackApiError) or not _is_limit(error):
        return None
    headers: dict[str, Any] = {str(k).lower(): v for k, v in error.response.headers.items()}
    try:
        return bounded_s(float(headers.get("retry-after", "")))
    except ValueError:
        return RETRY_S


def lacks_method(error: BaseException) -> bool:
    """Whether the method does not exist there.

    An emulator may know only some methods, and a proxy may let only some through. Both then answer
    with a bare 404 or the like, without Slack's JSON.
    """
    if code := code_of(error):
        return code == "unknown_method"
    status = _status_of(error)
    refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    return (refused and status not in _PASSING) or status == HTTPStatus.NOT_IMPLEMENTED


def is_refusal(error: BaseException) -> bool:
    """Whether Slack understood the call and will not carry it out.

    False for an outage, a rate limit, or a token that a person has to renew: those pass.
    """
    code = code_of(error)
    return bool(code) and wait_of(error) is None and code not in _TOKEN | _OUTAGES


def post_error(error: BaseException) -> PostError:
    """The port's error for a call that failed while a part was posted."""
    code = code_of(error)
    if (wait_s := wait_of(error)) is not None:
        return Later("Slack's rate limit", wait_s)
    if code in _TOKEN:
        return Later(f"Slack refuses the token: {code}", TOKEN_RETRY_S)
    for kind, codes in ((Gone, _GONE), (Forbidden, _FORBIDDEN), (Never, _NEVER | TEXT_REFUSED)):
        if code in codes:
            return kind(code)
    if is_refusal(error):
        return Later(f"Slack refuses it: {code}", REFUSED_RETRY_S, refused=True)
    # An outage, a time-out or a lost response: Slack may have posted the message.
    return Later(
        f"Slack failed to post it: {reason_of(error)}", RETRY_S, maybe_posted=True,
        unanswered=isinstance(error, _UNANSWERED),
    )  # fmt: skip


def search_error(error: BaseException) -> Later:
    """The port's error if Slack cannot say now which messages are posted."""
    later = post_error(error)
    wait_s = later.wait_s if isinstance(later, Later) else RETRY_S
    unanswered = isinstance(error, _UNANSWERED)
    return Later(f"Slack cannot be asked now: {later}", wait_s, unanswered=unanswered)


def _is_limit(error: SlackApiError) -> bool:
    limited = code_of(error) in {"ratelimited", "rate_limited"}
    return limited or _status_of(error) == HTTPStatus.TOO_MANY_REQUESTS


def _status_of(error: BaseException) -> int:
    """The HTTP status of a failed call; 0 if there was no response."""
    if isinstance(error, aiohttp.ClientResponseError):  # the body was not JSON
        return error.status
    if not isinstance(error, SlackApiError):
        return 0
    # The SDK passes its own response, or aiohttp's if it could not read the body.
    found = getattr(error.response, "status_code", None) or getattr(error.response, "status", 0)
    return found if isinstance(found, int) else 0
