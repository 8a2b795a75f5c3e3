"""Slack's payloads to what a person said or did, and that to our events. Pure: no I/O, no clock.

Foreign dicts stop here. Whatever is malformed or not for us becomes None, never an exception: a
payload that fails for ever would be delivered again and again.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from bots.slack.access import SLACKBOT
from bots.slack.audience import Channel, audience_of
from bots.slack.payloads import mapping, text, value
from bots.slack.rich_message import Enclosed, enclosed_in, files_of, written_in
from shared import names
from shared.messages import Place

PLATFORM: Final = "slack"

_TS: Final = re.compile(r"[0-9]{1,11}\.[0-9]{1,9}")
_ID: Final = re.compile(r"[A-Z][A-Z0-9_]{0,30}")
_ANSWERABLE: Final = frozenset({None, "file_share", "thread_broadcast", "bot_message"})
"""Subtypes of what somebody writes; all others are notes of Slack's own."""

_CHANGES: Final = frozenset({"message_changed", "message_deleted"})


@dataclass(frozen=True, slots=True)
class Said:
    """One message that somebody wrote."""

    team: str
    channel: str
    ts: str
    user: str
    text: str
    thread_ts: str = ""
    user_team: str = ""
    kind: str = ""
    """Slack's `channel_type`: `im`, `mpim`, `group` or `channel`; empty in an `app_mention`."""
    external: bool = False
    """Another company reads the channel."""
    by_bot: bool = False
    by_slack: bool = False
    """Slackbot wrote it, or this app under another name: nobody waits for an answer."""
    bot_id: str = ""
    mention: bool = False
    files: tuple[Mapping[str, Any], ...] = ()
    enclosed: tuple[Enclosed, ...] = ()
    """What others wrote that came with it: forwards, link previews, an app's attachments."""

    @property
    def id(self) -> str:
        """The same for every delivery of this message, as `message` or as `app_mention`."""
        return event_id(self.team, self.channel, self.ts)

    @property
    def version(self) -> str:
        """Identical for all deliveries of this message with this text."""
        return f"{self.id}/{hash(self.text):x}"

    @property
    def root(self) -> str:
        """The thread it belongs to; a message at the top is its own."""
        return self.thread_ts or self.ts

    @property
    def direct(self) -> bool:
        """Whether it was written to the bot directly: Slack sends it no other direct messages."""
        return self.kind == "im" or (not self.kind and self.channel.startswith("D"))

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


def place_of(team: str, channel: str, thread: str, user: str, seen: Channel) -> Place:
    """Where this user said something: one audience per place.

    Every channel is a space of its own, because guests, later members and other companies may read
    one channel and not another; a channel that is shared with others is yet another space.
    """
    audience = audience_of(seen, user)
    own = "/".join(filter(None, (team, channel, seen.sharing)))
    return Place(
        platform=PLATFORM,
        space=team if audience == "direct" else own,
        channel=channel,
        thread=thread,
        audience=audience,
    )


def person_in(body: Mapping[str, Any]) -> str:
    """Id of the person whose queue a payload belongs to; empty if it belongs to nobody's.

    An edit or a deletion belongs to the message's author, so that it cannot overtake the message.
    """
    event = mapping(body, "event")
    if not event:
        return text(body, "user_id") or text(body, "user", "id")
    for message in (mapping(event, "message"), mapping(event, "previous_message"), event):
        if person := text(message, "user") or text(message, "bot_id"):
            return person
    return ""


def said_of(body: Mapping[str, Any]) -> Said | None:
    """What somebody wrote, from a `message` or `app_mention` event."""
    event = mapping(body, "event")
    return _message(body, event, event) if _is_answerable(event) else None


def changed_of(body: Mapping[str, Any]) -> Changed | None:
    """An edit or a deletion, from a `message` event; None where the words stayed the same."""
    event = mapping(body, "event")
    kind, old, new = (
        text(event, "subtype"), mapping(event, "previous_message"), mapping(event, "message")
    )  # fmt: skip
    if kind not in _CHANGES:
        return None
    before = _message(body, old, event)
    stamp = text(event, "ts") or text(event, "event_ts")
    if before is None or not is_ts(stamp) or not _is_answerable(old):
        return None
    # A deleted message that has replies is changed into a tombstone.
    if kind == "message_deleted" or not new or text(new, "subtype") == "tombstone":
        return Changed(before, None, stamp)
    after = _message(body, new, event)
    # Slack reports its own link previews and reply counts as edits, too.
    if after is None or after.text == before.text or after.user != before.user:
        return None
    return Changed(before, after, stamp)


def is_change(body: Mapping[str, Any]) -> bool:
    """Whether a `message` event is about an earlier message."""
    return text(body, "event", "subtype") in _CHANGES


def _is_answerable(message: Mapping[str, Any]) -> bool:
    subtype = value(message, "subtype")
    return subtype is None or (isinstance(subtype, str) and subtype in _ANSWERABLE)


def _message(
    body: Mapping[str, Any], message: Mapping[str, Any], event: Mapping[str, Any]
) -> Said | None:
    team, channel = text(body, "team_id"), text(event, "channel")
    ts, user, thread = text(message, "ts"), text(message, "user"), text(message, "thread_ts")
    by_bot = bool(message.get("bot_id") or message.get("bot_profile"))
    by_bot = by_bot or message.get("subtype") == "bot_message"
    user = user or text(message, "bot_id")
    if not all(map(_ID.fullmatch, (team, channel, user))) or not is_ts(ts):
        return None
    if thread and not is_ts(thread):
        return None
    return Said(
        team=team,
        channel=channel,
        ts=ts,
        user=user,
        text=written_in(message),
        thread_ts=thread,
        user_team=text(message, "user_team") or text(message, "source_team"),
        kind=text(event, "channel_type"),
        external=body.get("is_ext_shared_channel") is True,
        by_bot=by_bot,
        bot_id=text(message, "bot_id"),
        by_slack=user == SLACKBOT or _is_ours(body, message),
        mention=event.get("type") == "app_mention",
        files=files_of(message),
        enclosed=enclosed_in(message),
    )


def _is_ours(body: Mapping[str, Any], message: Mapping[str, Any]) -> bool:
    """Whether this app wrote it, whatever it called itself there."""
    app = text(body, "api_app_id")
    return bool(app) and app in {text(message, "app_id"), text(message, "bot_profile", "app_id")}


def is_written(body: Mapping[str, Any]) -> bool:
    """Whether a `message` or `app_mention` event is what somebody wrote, readable or not."""
    event = mapping(body, "event")
    return _is_answerable(event) and bool(text(event, "text"))


def is_ts(stamp: str) -> bool:
    """Whether this is a time stamp as Slack names its messages."""
    return _TS.fullmatch(stamp) is not None and math.isfinite(float(stamp))
