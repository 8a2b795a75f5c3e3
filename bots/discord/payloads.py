"""Reads messages as Discord sends them: any field may be missing or malformed.

Pure. It must never raise, whatever it is given.
"""

from typing import Any, Final, NamedTuple

import discord

Json = dict[str, Any]

SPOKEN: Final = frozenset({discord.MessageType.default, discord.MessageType.reply})
"""Messages that people write; all other types are Discord's own."""

_SPOKEN_KINDS: Final = frozenset(kind.value for kind in SPOKEN)


def text_in(value: object) -> str:
    """A field's text; empty if it is not a string."""
    return value.strip() if isinstance(value, str) else ""


def dict_in(value: object) -> Json:
    """A field's object; empty if it is not an object."""
    return value if isinstance(value, dict) else {}


def dicts_in(value: object) -> list[Json]:
    """The objects in a field's list; empty if it is not a list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def number_in(value: object) -> int:
    """A field's integer; 0 if it is not an integer."""
    return value if isinstance(value, int) else 0


def id_of(raw: Json) -> int:
    """A message's id; 0 if it has no readable one."""
    return _number(raw, "id")


def author_of(raw: Json) -> int:
    """The id of a message's author; 0 if it has no readable one."""
    return _number(raw.get("author"), "id")


def referenced_id(raw: Json) -> int:
    """The id of the message that it refers to; 0 if there is none."""
    return _number(raw.get("message_reference"), "message_id")


def referenced_channel_id(raw: Json) -> int:
    """The channel of the message that it refers to; 0 if it is not given."""
    return _number(raw.get("message_reference"), "channel_id")


class Addressed(NamedTuple):
    """Who wrote to the bot, and where; `guild` is None in a direct message."""

    author: int
    guild: int | None
    channel: int


def addressed_to_bot(raw: Json, me: int) -> Addressed | None:
    """Who wrote a message that the library cannot read, and where.

    None unless the payload alone shows that a person wrote it to the bot.
    """
    author, channel = author_of(raw), _number(raw, "channel_id")
    if not author or not channel or author == me:
        return None
    if raw["author"].get("bot") or raw["author"].get("system") or raw.get("webhook_id"):
        return None
    kind = raw.get("type")
    if kind is not None and not (isinstance(kind, int) and kind in _SPOKEN_KINDS):
        return None
    if raw.get("guild_id") is not None:
        named = f"<@{me}>" in str(raw.get("content")) or me in _mentioned(raw)
        return Addressed(author, _number(raw, "guild_id") or None, channel) if named else None
    return Addressed(author, None, channel)


def _mentioned(raw: Json) -> set[int]:
    users = raw.get("mentions")
    return {_number(user, "id") for user in users} if isinstance(users, list) else set()


def _number(raw: object, key: str) -> int:
    try:
        return int(raw[key])  # type: ignore[index]
    except (KeyError, IndexError, TypeError, ValueError):
        return 0
