"""Messages as Discord sends them, read with care: any field may be missing or of another shape.

Pure. It must never raise on what it is given.
"""

from typing import Any, Final, NamedTuple

import discord

Json = dict[str, Any]

SPOKEN: Final = frozenset({discord.MessageType.default, discord.MessageType.reply})
"""What people write; all other kinds are Discord's own."""

_SPOKEN_KINDS: Final = frozenset(kind.value for kind in SPOKEN)


def text_in(value: object) -> str:
    """A field's text; empty if it is no text."""
    return value.strip() if isinstance(value, str) else ""


def dict_in(value: object) -> Json:
    """A field's object; empty if it is none."""
    return value if isinstance(value, dict) else {}


def dicts_in(value: object) -> list[Json]:
    """The objects in a field's list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def number_in(value: object) -> int:
    """A field's whole number; 0 if it is none."""
    return value if isinstance(value, int) else 0


def id_of(raw: Json) -> int:
    """A message's id; 0 if it has none that can be read."""
    return _number(raw, "id")


def author_of(raw: Json) -> int:
    """Its author's id; 0 if there is none that can be read."""
    return _number(raw.get("author"), "id")


def referenced_id(raw: Json) -> int:
    """The message that it refers to; 0: none."""
    return _number(raw.get("message_reference"), "message_id")


def referenced_channel_id(raw: Json) -> int:
    """The channel of the message that it refers to; 0: not said."""
    return _number(raw.get("message_reference"), "channel_id")


class Addressed(NamedTuple):
    """Who wrote to the bot, and where; `guild` is None in a direct message."""

    author: int
    guild: int | None
    channel: int


def addressed_to_bot(raw: Json, me: int) -> Addressed | None:
    """Author, server (0: direct) and channel of a message that the library cannot read.

    None unless its payload alone shows that a person wrote it to the bot.
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
