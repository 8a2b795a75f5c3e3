"""Turns Slack's payloads into values: messages, edits and deletions. Pure: no I/O.

Slack's own dicts stop here. A payload that is malformed or not for us becomes None and must never
raise: Slack would deliver it again and again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bots.slack.ids import event_id, fingerprint, is_id, is_ts
from bots.slack.payloads import mapping, text, value
from bots.slack.people import SLACKBOT
from bots.slack.rich_message import Enclosed, enclosed_in, files_of, written_in

_WRITTEN: Final = frozenset({None, "file_share", "thread_broadcast", "bot_message"})
"""Subtypes of messages that somebody wrote; all others are Slack's own notices."""

_CHANGES: Final = frozenset({"message_changed", "message_deleted"})


@dataclass(frozen=True, slots=True)
class Message:
    """One message that somebody wrote."""

    team: str
    channel: str
    ts: str
    user: str
    text: str
    thread_ts: str = ""
    user_team: str = ""
    channel_type: str = ""
    """`im`, `mpim`, `group` or `channel`; empty in an `app_mention`."""
    external: bool = False
    """Another company reads the channel."""
    by_bot: bool = False
    by_slack: bool = False
    """Slackbot wrote it, or this app under another name: nobody waits for an answer."""
    bot_id: str = ""
    mention: bool = False
    files: tuple[Mapping[str, Any], ...] = ()
    enclosed: tuple[Enclosed, ...] = ()
    """Texts by others inside it: forwards, link previews, an app's attachments."""

    @property
    def id(self) -> str:
        """The id of its event, the same for its deliveries as `message` and `app_mention`."""
        return event_id(self.team, self.channel, self.ts)

    @property
    def version(self) -> str:
        """The same for every delivery of this message, to any process, until its text is edited."""
        return f"{self.id}/{fingerprint(self.text)}"

    @property
    def root(self) -> str:
        """The thread it belongs to; a message at the top of a channel begins its own."""
        return self.thread_ts or self.ts

    @property
    def direct(self) -> bool:
        """Whether it was written to the bot: Slack sends the bot no other direct messages."""
        return self.channel_type == "im" or (not self.channel_type and self.channel.startswith("D"))

    @property
    def in_thread(self) -> bool:
        """Whether it is a reply in a thread."""
        return bool(self.thread_ts) and self.thread_ts != self.ts


@dataclass(frozen=True, slots=True)
class MessageChange:
    """A message was edited, or deleted if `new` is None. `stamp` identifies the change."""

    old: Message
    new: Message | None
    stamp: str


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


def message_in(body: Mapping[str, Any]) -> Message | None:
    """The message in a `message` or `app_mention` event."""
    event = mapping(body, "event")
    return _message(body, event, event) if _is_written(event) else None


def change_in(body: Mapping[str, Any]) -> MessageChange | None:
    """The edit or deletion in a `message` event; None if the text is still the same."""
    event = mapping(body, "event")
    kind, old, new = (
        text(event, "subtype"), mapping(event, "previous_message"), mapping(event, "message")
    )  # fmt: skip
    if kind not in _CHANGES:
        return None
    before = _message(body, old, event)
    stamp = text(event, "ts") or text(event, "event_ts")
    if before is None or not is_ts(stamp) or not _is_written(old):
        return None
    # Slack replaces a deleted message that has replies with a tombstone.
    if kind == "message_deleted" or not new or text(new, "subtype") == "tombstone":
        return MessageChange(before, None, stamp)
    after = _message(body, new, event)
    # Slack reports link previews and reply counts as edits, too.
    if after is None or after.text == before.text or after.user != before.user:
        return None
    return MessageChange(before, after, stamp)


def is_change(body: Mapping[str, Any]) -> bool:
    """Whether a `message` event is about an earlier message."""
    return text(body, "event", "subtype") in _CHANGES


def has_text(body: Mapping[str, Any]) -> bool:
    """Whether a `message` or `app_mention` event has a text that somebody wrote."""
    event = mapping(body, "event")
    return _is_written(event) and bool(text(event, "text"))


def _is_written(message: Mapping[str, Any]) -> bool:
    subtype = value(message, "subtype")
    return subtype is None or (isinstance(subtype, str) and subtype in _WRITTEN)


def _message(
    body: Mapping[str, Any], message: Mapping[str, Any], event: Mapping[str, Any]
) -> Message | None:
    team, channel = text(body, "team_id"), text(event, "channel")
    ts, user, thread = text(message, "ts"), text(message, "user"), text(message, "thread_ts")
    by_bot = bool(message.get("bot_id") or message.get("bot_profile"))
    by_bot = by_bot or message.get("subtype") == "bot_message"
    user = user or text(message, "bot_id")
    if not all(map(is_id, (team, channel, user))) or not is_ts(ts):
        return None
    if thread and not is_ts(thread):
        return None
    return Message(
        team=team,
        channel=channel,
        ts=ts,
        user=user,
        text=written_in(message),
        thread_ts=thread,
        user_team=text(message, "user_team") or text(message, "source_team"),
        channel_type=text(event, "channel_type"),
        external=body.get("is_ext_shared_channel") is True,
        by_bot=by_bot,
        bot_id=text(message, "bot_id"),
        by_slack=user == SLACKBOT or _is_ours(body, message),
        mention=event.get("type") == "app_mention",
        files=files_of(message),
        enclosed=enclosed_in(message),
    )


def _is_ours(body: Mapping[str, Any], message: Mapping[str, Any]) -> bool:
    """Whether this app wrote it, under whatever name."""
    app = text(body, "api_app_id")
    return bool(app) and app in {text(message, "app_id"), text(message, "bot_profile", "app_id")}
