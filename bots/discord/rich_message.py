"""A message as a person reads it, in plain text: content, embeds, polls, files, forwards.

Pure: it reads Discord's payload in linear time. It must never raise, whatever the payload's shape,
never return more characters than its limit, and never cut without saying so.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from bots.discord.markup import MentionNames, readable
from bots.discord.message_parts import component_lines, embed_lines, file_line, poll_lines
from bots.discord.payloads import Json, dict_in, dicts_in, number_in, text_in

MESSAGE_CHARS: Final = 12_000
"""People can write 4,000 characters; all embeds of a message have up to 6,000."""

REPLY_CHARS: Final = 100
"""Limit for the replied-to message in the line above a reply: it is usually quoted as well."""

CUT: Final = "(… {:,} more characters are not shown)"
DEFAULT, REPLY, COMMAND, STARTER, MENU_COMMAND = 0, 19, 20, 21, 23
WRITTEN_BY_AUTHOR: Final = frozenset({DEFAULT, REPLY, COMMAND, STARTER, MENU_COMMAND})
"""Message types whose content was written by the author; in others it is a detail of a notice."""

_NO_EMBEDS: Final = 1 << 2
_LOADING: Final = 1 << 7
_VOICE: Final = 1 << 13

# https://docs.discord.com/developers/resources/message#message-object-message-types
_NOTICES: Final = {
    1: "added {named}",
    2: "removed {named}",
    3: "started a call",
    4: "changed the name to: {content}",
    5: "changed the picture of this conversation",
    6: "pinned a message",
    7: "joined the server",
    8: "boosted the server",
    9: "boosted the server, which is now at level 1",
    10: "boosted the server, which is now at level 2",
    11: "boosted the server, which is now at level 3",
    12: "had the announcements of {content} shown in this channel",
    18: "started a thread: {content}",
    25: "subscribed to a role",
    27: "started the stage: {content}",
    28: "ended the stage: {content}",
    29: "is now a speaker",
    30: "asked to speak",
    31: "changed the topic of the stage to: {content}",
    32: "subscribed to an app",
    36: "restricted the server for its security until {content}",
    37: "lifted the restrictions of the server",
    38: "reported a raid",
    39: "reported a false alarm",
    44: "bought something",
    46: "A poll has closed.",
    63: "added an emoji: {content}",
}
_ANY_NOTICE: Final = "a notice by Discord: {content}"
_ACTIVITIES: Final = {1: "invites to join", 2: "invites to watch", 3: "invites to listen to"}


def rich_text(
    message: Json, mention_names: MentionNames, *, limit: int = MESSAGE_CHARS, bare: bool = False
) -> str:
    """Everything that a message shows; empty if it shows nothing.

    `bare` leaves out the replied-to message and the buttons, for the bot's own answers.
    """
    message = started_by(message)
    lines = _body(message, bare=bare)
    return bounded(
        lines if bare else (*_head(message), *lines), mentioned_users(message), mention_names, limit
    )


def started_by(message: Json) -> Json:
    """Replace the message that represents a thread's starter by the starter itself."""
    is_starter = number_in(message.get("type")) == STARTER
    return dict_in(message.get("referenced_message")) if is_starter else message


def _body(message: Json, *, bare: bool = False) -> Iterator[str]:
    """A message and those that it forwards, without the line above them."""
    for number, one in enumerate((message, *forwards_of(message))):
        yield "[forwarded message]" if number else ""
        yield _words(one)
        yield from _extras(one)
        yield from (line for embed in _embeds(one) for line in embed_lines(embed))
        yield from () if bare else component_lines(one.get("components"))
        yield from files_named(one)


def own_text(message: Json, mention_names: MentionNames) -> str:
    """The text that an author wrote: without files, forwards and link previews."""
    return bounded(
        (_words(message), *_extras(message)), mentioned_users(message), mention_names, MESSAGE_CHARS
    )


def previews_text(message: Json, mention_names: MentionNames) -> str:
    """The link previews of a message, which its author did not write."""
    lines = (line for embed in _embeds(message) for line in embed_lines(embed))
    return bounded(lines, mentioned_users(message), mention_names, MESSAGE_CHARS)


def bounded(
    lines: Iterable[str], users: dict[str, str], mention_names: MentionNames, limit: int
) -> str:
    """The lines as readable text of up to `limit` characters, plus a note if something was cut."""
    text = "\n".join(line for line in lines if line)
    # Cut a second time below, because a name can be longer than the id that it replaces.
    shown = readable(text[:limit], users, mention_names)
    left_out = max(0, len(text) - limit) + max(0, len(shown) - limit)
    return f"{shown[:limit]}\n{CUT.format(left_out)}" if left_out else shown


def forwards_of(message: Json) -> list[Json]:
    """The messages that a message forwards, as they were then; Discord omits their authors."""
    snapshots = dicts_in(message.get("message_snapshots"))
    return [found for shot in snapshots if (found := dict_in(shot.get("message")))]


def mentioned_users(message: Json) -> dict[str, str]:
    """The names of people who are mentioned in a message or in its forwards, by id."""
    mentioned = [user for one in (message, *forwards_of(message))
                 for user in dicts_in(one.get("mentions"))]  # fmt: skip
    return {str(user.get("id")): name_of(user) for user in mentioned}


def is_written_by_author(message: Json) -> bool:
    """Whether the author wrote the message; if not, it is a notice of Discord's in their name."""
    return number_in(message.get("type")) in WRITTEN_BY_AUTHOR


def name_of(user: Json) -> str:
    """A user's display name."""
    nick = text_in(dict_in(user.get("member")).get("nick"))
    known = nick or text_in(user.get("global_name")) or text_in(user.get("username"))
    return known or "somebody"


def files_named(message: Json) -> list[str]:
    """The files of a message by name."""
    voice = bool(_flags(message) & _VOICE)
    return [file_line(file, voice=voice) for file in dicts_in(message.get("attachments"))]


def _head(message: Json) -> Iterator[str]:
    """The line above a message: what it replies to, or the command that it results from."""
    answered = dict_in(message.get("referenced_message"))
    if number_in(message.get("type")) == REPLY and answered:
        said = " ".join(line for line in _body(started_by(answered)) if line != "[embed]")
        words = " ".join(said[: 2 * REPLY_CHARS].split())[:REPLY_CHARS]
        yield f"[answers {name_of(dict_in(answered.get('author')))}{': ' if words else ''}{words}]"
    used = dict_in(message.get("interaction_metadata")) | dict_in(message.get("interaction"))
    if name := text_in(used.get("name")):
        yield f"[result of the command {name}, used by {name_of(dict_in(used.get('user')))}]"


def _words(message: Json) -> str:
    content = text_in(message.get("content"))
    if _flags(message) & _LOADING:
        return "[an answer that is not ready yet]"
    if is_written_by_author(message):
        return content
    kind = number_in(message.get("type"))
    named = ", ".join(name_of(user) for user in dicts_in(message.get("mentions")))
    notice = _NOTICES.get(kind, _ANY_NOTICE if content else "a notice by Discord")
    return f"[{notice.replace('{named}', named).replace('{content}', content)}]"


def _extras(message: Json) -> Iterator[str]:
    yield from poll_lines(dict_in(message.get("poll")))
    for sticker in dicts_in(message.get("sticker_items")) or dicts_in(message.get("stickers")):
        yield f"[sticker: {text_in(sticker.get('name')) or 'without a name'}]"
    for sound in dicts_in(message.get("soundboard_sounds")):
        yield f"[sound: {text_in(sound.get('name')) or 'without a name'}]"
    activity = dict_in(message.get("activity"))
    application = text_in(dict_in(message.get("application")).get("name"))
    if activity:
        does = _ACTIVITIES.get(number_in(activity.get("type")), "asks to join")
        yield f"[{does} {application or 'an activity'}]"
    role = text_in(dict_in(message.get("role_subscription_data")).get("tier_name"))
    bought = dict_in(dict_in(message.get("purchase_notification")).get("guild_product_purchase"))
    for name in (role, text_in(bought.get("product_name"))):
        if name:
            yield f"[{name}]"


def _embeds(message: Json) -> list[Json]:
    return [] if _flags(message) & _NO_EMBEDS else dicts_in(message.get("embeds"))


def _flags(message: Json) -> int:
    return number_in(message.get("flags"))
