"""The fields that a message can do without: reference, buttons, flags, nonce.

Pure. A refusal of one of these fields must never cost the answer: the message is posted again
without it. A message that cannot say "ping nobody" must never contain anything that pings.
"""

from http import HTTPStatus
from typing import Final

import discord

from bots.discord.errors import (
    CANNOT_REPLY,
    CLOSED_TO_BOTS,
    FILTERED,
    NO_ACCESS,
    NO_PERMISSION,
    TEXT_REFUSED,
    THREAD_ARCHIVED,
    THREAD_LOCKED,
    UNKNOWN_CHANNEL,
    post_error,
)
from bots.discord.payloads import Json
from bots.platform import Later

REFERENCE: Final = "message_reference"
_STEPS: Final = (
    frozenset({REFERENCE}),
    frozenset({"components", "flags", "embeds"}),
    frozenset({"nonce", "enforce_nonce"}),
    frozenset({"allowed_mentions"}),
)
"""The order in which fields are left out if Discord does not name the refused one."""

OPTIONAL_FIELDS: Final = frozenset().union(*_STEPS)

_ABOUT_THE_CHANNEL: Final = frozenset(
    {NO_ACCESS, NO_PERMISSION, THREAD_ARCHIVED, THREAD_LOCKED, UNKNOWN_CHANNEL, *CLOSED_TO_BOTS}
)
_NOT_ABOUT_OPTIONAL_FIELDS: Final = _ABOUT_THE_CHANNEL | FILTERED | {TEXT_REFUSED}
_AT: Final = "@"
_HARMLESS_AT: Final = "＠"  # noqa: RUF001  (of the same length, and no longer a mention)


def without_refused(body: Json, error: discord.HTTPException) -> Json | None:
    """The message to post next, with fewer fields; None if no optional field was refused."""
    refused = _refused(body, error)
    if not refused:
        return None
    left = {key: value for key, value in body.items() if key not in refused}
    if "components" in refused and body["components"]:
        left["components"] = []  # so that an edit removes the old buttons
    if "allowed_mentions" in refused:
        left["content"] = left.get("content", "").replace(_AT, _HARMLESS_AT)
    return left


def _refused(body: Json, error: discord.HTTPException) -> frozenset[str]:
    """The fields to leave out because of a refusal."""
    if error.code in _NOT_ABOUT_OPTIONAL_FIELDS or isinstance(post_error(error), Later):
        return frozenset()
    here = OPTIONAL_FIELDS & body.keys()
    if error.code == CANNOT_REPLY or error.status in {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}:
        return here & {REFERENCE}  # no access to the history, or the message is gone
    if error.status != HTTPStatus.BAD_REQUEST:
        return frozenset()
    named = named_in(error)
    if "content" in named:
        return frozenset()  # the text itself
    if named & here:
        # A nonce and the field that enforces it are sent together or not at all.
        pair = _STEPS[2] if named & _STEPS[2] else frozenset()
        return here & (named | pair)
    return next((step & here for step in _STEPS if step & here), frozenset())


def named_in(error: discord.HTTPException) -> frozenset[str]:
    """The fields named in an "invalid form body" error; discord.py keeps them in a private list."""
    errors = getattr(error, "_errors", None)
    return frozenset(errors) if isinstance(errors, dict) else frozenset()
