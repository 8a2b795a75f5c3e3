"""Ids on the bus for Slack's users and messages, and Slack's own time stamps. Pure: no I/O."""

import hashlib
import math
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from shared import user_names

PLATFORM: Final = "slack"

_TS: Final = re.compile(r"[0-9]{1,11}\.[0-9]{1,9}")
_ID: Final = re.compile(r"[A-Z][A-Z0-9_]{0,30}")


@lru_cache(maxsize=1024)  # read several times for each delivery
def event_id(*parts: str) -> str:
    """The id of an event, made from Slack's ids: the same for every delivery."""
    return "-".join((PLATFORM, *(user_names.encoded(part) for part in parts)))


def user_of(team: str, user: str) -> str:
    """The user on the bus, for a user of a workspace."""
    return user_names.user_of(PLATFORM, f"{team}-{user}")


def is_id(found: str) -> bool:
    """Whether this looks like an id of Slack's: `U0123ABCD`, `C0123ABCD`, `T0123ABCD`."""
    return _ID.fullmatch(found) is not None


def is_ts(found: str) -> bool:
    """Whether this is a time stamp, by which Slack identifies messages: `1700000000.000100`."""
    return _TS.fullmatch(found) is not None and math.isfinite(float(found))


def said_at(ts: str) -> datetime:
    """The time of a time stamp."""
    return datetime.fromtimestamp(float(ts), UTC)


def fingerprint(text: str) -> str:
    """A short hash of a text, the same in every process, which Python's `hash` is not."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32]
