"""Discord's refusals as the relay's four: later, never, gone, forbidden.

Pure. It must never take an answer that did not come for a refusal.
"""

from http import HTTPStatus
from typing import Final

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
"""No permission to read the history, without which Discord lets nobody reply."""

THREAD_EXISTS: Final = 160004
THREAD_LOCKED: Final = 160005
CLOSED_TO_BOTS: Final = frozenset({50007, 50278})
"""Direct messages that a person does not take."""

FILTERED: Final = frozenset({200000, 200001, 240000})
"""AutoMod, or a link filter: another text may pass."""

INTERACTION_OVER: Final = frozenset({UNKNOWN_WEBHOOK, UNKNOWN_INTERACTION, INVALID_WEBHOOK_TOKEN})

RETRY_S: Final = 1.0
"""After an answer that did not come."""

OUTAGE_S: Final = 5.0
BANNED_S: Final = 60.0
"""A 429 without `Via` comes from the proxy in front of Discord: asking on prolongs it."""

FAILURES: Final = (
    discord.DiscordException,
    aiohttp.ClientError,
    OSError,
    TimeoutError,
    RuntimeError,  # a session that was closed for a new client
)


def post_error(error: Exception) -> PostError:
    """What the relay does about a post that failed."""
    if isinstance(error, discord.RateLimited):
        return Later("rate limited", error.retry_after)
    if isinstance(error, RuntimeError):
        return Later("connecting anew", RETRY_S)
    if isinstance(error, discord.HTTPException):
        return _refused(error)
    return Later(f"no answer: {type(error).__name__}", RETRY_S, maybe_posted=True)


def _refused(error: discord.HTTPException) -> PostError:
    # Without the response's text, which may quote what was posted.
    what = f"HTTP {error.status}, code {error.code}"
    if error.status == HTTPStatus.TOO_MANY_REQUESTS:
        return Later(what, BANNED_S)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Later(what, OUTAGE_S, maybe_posted=True)
    if error.status == HTTPStatus.UNAUTHORIZED:
        # The token was changed: the gateway says so too, and ends the process.
        return Later(what, OUTAGE_S)
    if error.code in CLOSED_TO_BOTS or error.status == HTTPStatus.NOT_FOUND:
        return Gone(what)
    if error.status == HTTPStatus.FORBIDDEN and error.code not in FILTERED:
        return Forbidden(what)
    return Never(what)
