"""Discord's errors as the relay's four: Later, Never, Gone, Forbidden.

Pure. It must never treat a missing response as a refusal.
"""

import math
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import discord

from bots.platform import Forbidden, Gone, Later, Never, PostError

# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
UNKNOWN_CHANNEL: Final = 10003
UNKNOWN_MESSAGE: Final = 10008
UNKNOWN_WEBHOOK: Final = 10015
UNKNOWN_INTERACTION: Final = 10062
INVALID_WEBHOOK_TOKEN: Final = 50027
NO_ACCESS: Final = 50001
TEXT_REFUSED: Final = 50006
"""An empty message."""

NO_PERMISSION: Final = 50013
INVALID_FORM: Final = 50035
THREAD_ARCHIVED: Final = 50083
CANNOT_REPLY: Final = 160002
"""Without permission to read the history, Discord allows no replies."""

THREAD_EXISTS: Final = 160004
THREAD_LOCKED: Final = 160005
CLOSED_TO_BOTS: Final = frozenset({50007, 50278})
"""This person does not accept direct messages."""

FILTERED: Final = frozenset({200000, 200001, 240000})
"""AutoMod or a link filter; another text may be accepted."""

INTERACTION_OVER: Final = frozenset({UNKNOWN_WEBHOOK, UNKNOWN_INTERACTION, INVALID_WEBHOOK_TOKEN})

RETRY_S: Final = 1.0
"""The wait after a missing response."""

OUTAGE_S: Final = 5.0
BANNED_S: Final = 60.0
"""A 429 without `Via` comes from the proxy in front of Discord; more requests prolong the ban."""

LONGEST_WAIT_S: Final = 600.0
"""Upper limit for any wait that Discord asks for."""

FAILURES: Final = (
    discord.DiscordException,
    aiohttp.ClientError,
    OSError,
    TimeoutError,
    RuntimeError,  # a session that was closed for a new client
)


def post_error(error: Exception) -> PostError:
    """What the relay should do about a post that failed."""
    if isinstance(error, discord.RateLimited):
        return Later("rate limited", bounded_wait(error.retry_after))
    if isinstance(error, RuntimeError):
        return Later("reconnecting", RETRY_S)
    if isinstance(error, discord.HTTPException):
        return _refused(error)
    return Later(f"no response: {type(error).__name__}", RETRY_S, maybe_posted=True)


def bounded_wait(seconds: Any) -> float:
    """A wait that Discord asks for, in seconds, limited to 0 to `LONGEST_WAIT_S`."""
    try:
        wait_s = float(seconds)
    except (TypeError, ValueError, OverflowError):
        return RETRY_S
    return RETRY_S if math.isnan(wait_s) else min(max(wait_s, 0.0), LONGEST_WAIT_S)


def _refused(error: discord.HTTPException) -> PostError:
    # The response's text is left out: it may quote what was posted.
    what = f"HTTP {error.status}, code {error.code}"
    if (wait_s := _passes_after(error)) is not None:
        done = error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return Later(what, wait_s, maybe_posted=done)
    if error.code in CLOSED_TO_BOTS or error.status == HTTPStatus.NOT_FOUND:
        return Gone(what)
    if error.status == HTTPStatus.FORBIDDEN and error.code not in FILTERED:
        return Forbidden(what)
    return Never(what)


def _passes_after(error: discord.HTTPException) -> float | None:
    """Seconds before the same request may succeed; None if it is refused for good."""
    if error.status == HTTPStatus.TOO_MANY_REQUESTS:
        headers = error.response.headers
        if "Via" not in headers:
            return BANNED_S
        # With `Via`, it is a rate limit: discord.py waited five times, and others used it up.
        return max(RETRY_S, bounded_wait(headers.get("Retry-After")))
    # 401: somebody reset the token. The gateway connection reports that, too, and ends the process.
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR or error.status == HTTPStatus.UNAUTHORIZED:
        return OUTAGE_S
    # Without a code it comes from a proxy in front of Discord, not from Discord.
    by_proxy = error.code == 0 and error.status in {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
    return OUTAGE_S if by_proxy else None
