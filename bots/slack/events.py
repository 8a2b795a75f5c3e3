"""Slack's payloads to what a person said or did, and that to our events. Pure: no I/O, no clock.

Foreign dicts stop here. Whatever is malformed or not for us becomes None, never an exception: a
payload that fails for ever would be delivered again and again.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal

from shared import names
from shared.messages import Place

PLATFORM: Final = "slack"
Audience = Literal["direct", "private", "public"]

_TS: Final = re.compile(r"\d{1,12}\.\d{1,9}")
_ID: Final = re.compile(r"[A-Z][A-Z0-9]{0,30}")
_ANSWERABLE: Final = frozenset({None, "file_share", "thread_broadcast", "bot_message"})
"""Subtypes of what somebody writes; all others are notes of Slack's own."""

_AUDIENCES: Final[dict[str, Audience]] = {
    "im": "direct", "mpim": "private", "group": "private", "channel": "public",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Said:
    """One message that somebody wrote. `audience` is None where Slack does not say it here."""

    team: str
    channel: str
    ts: str
    user: str
    text: str
    thread_ts: str = ""
    user_team: str = ""
    audience: Audience | None = None
    external: bool = False
    by_bot: bool = False
    mention: bool = False
    files: tuple[Mapping[str, Any], ...] = field(default=())

    @property
    def id(self) -> str:
        """The same for every delivery of this message, as `message` or as `app_mention`."""
        return event_id(self.team, self.channel, self.ts)

    @property
    def root(self) -> str:
        """The thread it stands in; a message at the top is its own."""
        return self.thread_ts or self.ts

    @property
    def direct(self) -> bool:
        """Whether only its author and the bot can read it."""
        return self.channel.startswith("D")

    @property
    def in_thread(self) -> bool:
        """Whether it is a reply."""
        return bool(self.thread_ts) and self.thread_ts != self.ts


@dataclass(frozen=True, slots=True)
class Changed:
    """A message was edited, or deleted where `new` is None. `stamp` tells two edits apart."""

    old: Said
    new: Said | None
    stamp: str


@lru_cache(maxsize=1024)  # asked several times for each delivery
def event_id(*parts: str) -> str:
    """An id of ours from Slack's own."""
    return "-".join((PLATFORM, *(names.encoded(part) for part in parts)))


def user_of(team: str, user: str) -> str:
    """The user of a workspace."""
    return names.user_of(PLATFORM, f"{team}-{user}")


def said_at(ts: str) -> datetime:
    """When a message was written."""
    return datetime.fromtimestamp(float(ts), UTC)


def place_of(team: str, channel: str, thread: str, audience: Audience, *, external: bool) -> Place:
    """Where something was said.

    A channel that is shared with another company is a space of its own: what was said in public
    inside the workspace was not said to those people.
    """
    return Place(
        platform=PLATFORM,
        space=f"{team}/{channel}" if external else team,
        channel=channel,
        thread=thread,
        audience=audience,
    )


def said_of(body: Mapping[str, Any]) -> Said | None:
    """What somebody wrote, from a `message` or `app_mention` event."""
    event = body.get("event")
    if not isinstance(event, Mapping) or event.get("subtype") not in _ANSWERABLE:
        return None
    return _message(body, event, event)


def changed_of(body: Mapping[str, Any]) -> Changed | None:
    """An edit or a deletion, from a `message` event; None where the words stayed the same."""
    event = body.get("event")
    if not isinstance(event, Mapping):
        return None
    kind, old, new = event.get("subtype"), event.get("previous_message"), event.get("message")
    if kind not in {"message_changed", "message_deleted"} or not isinstance(old, Mapping):
        return None
    before = _message(body, old, event)
    stamp = _text(event, "ts") or _text(event, "event_ts")
    if before is None or not stamp or old.get("subtype") not in _ANSWERABLE:
        return None
    # A deleted message that has replies is changed into a tombstone.
    gone = not isinstance(new, Mapping) or new.get("subtype") == "tombstone"
    if kind == "message_deleted" or gone:
        return Changed(before, None, stamp)
    after = _message(body, new, event) if isinstance(new, Mapping) else None
    # Slack tells of its own link previews and of reply counts as edits, too.
    if after is None or after.text == before.text or after.user != before.user:
        return None
    return Changed(before, after, stamp)


def _message(
    body: Mapping[str, Any], message: Mapping[str, Any], event: Mapping[str, Any]
) -> Said | None:
    team, channel = _text(body, "team_id"), _text(event, "channel")
    ts, user, thread = _text(message, "ts"), _text(message, "user"), _text(message, "thread_ts")
    by_bot = bool(message.get("bot_id") or message.get("bot_profile"))
    by_bot = by_bot or message.get("subtype") == "bot_message"
    user = user or _text(message, "bot_id")
    if not all(map(_ID.fullmatch, (team, channel, user))) or not is_ts(ts):
        return None
    if thread and not is_ts(thread):
        return None
    audience = _AUDIENCES.get(_text(event, "channel_type"))
    files = message.get("files")
    return Said(
        team=team,
        channel=channel,
        ts=ts,
        user=user,
        text=_text(message, "text"),
        thread_ts=thread,
        user_team=_text(message, "user_team") or _text(message, "source_team"),
        audience="direct" if channel.startswith("D") else audience,
        external=body.get("is_ext_shared_channel") is True,
        by_bot=by_bot,
        mention=event.get("type") == "app_mention",
        files=tuple(f for f in files if isinstance(f, Mapping)) if isinstance(files, list) else (),
    )


def _text(mapping: Mapping[str, Any], key: str) -> str:
    value = mapping.get(key)
    return value if isinstance(value, str) else ""


def is_ts(text: str) -> bool:
    """Whether this is a time stamp as Slack names its messages."""
    return _TS.fullmatch(text) is not None and math.isfinite(float(text))
