"""Discord's messages as our events: who is spoken to, by whom, what was said.

Pure: no I/O. Names, quotes and what was forwarded are data; it must never take a bot's, a
webhook's or the system's message for a person's.
"""

import re
from collections.abc import Mapping
from typing import Final

import discord

from bots.discord.places import PLATFORM, Spot
from bots.discord.raw import SPOKEN
from shared import names

FORWARDED: Final = "(What is forwarded here?)"
"""The question of somebody who forwards a message and says nothing."""

LOOK: Final = "(Look at what is attached.)"


def from_person(message: discord.Message, me: int) -> bool:
    """Whether a person wrote it, with words or files."""
    return (
        message.author.id != me
        and not message.author.bot
        and message.webhook_id is None
        and message.type in SPOKEN
    )


def speaks_to_bot(message: discord.Message, spot: Spot, me: int) -> bool:
    """Whether it is for the bot: direct, by name or role, in answer to it, or in its thread."""
    if spot.direct or any(user.id == me for user in message.mentions):
        return True
    own_role = message.guild.self_role if message.guild else None
    if own_role is not None and own_role.id in message.raw_role_mentions:
        return True
    answered = original_of(message)
    if answered is not None and answered.author.id == me:
        return True
    # In the bot's own thread people talk to the bot, unless they name somebody else.
    return spot.own_thread and not message.raw_mentions and not message.raw_role_mentions


def original_of(message: discord.Message) -> discord.Message | None:
    """The message that this one answers."""
    found = message.reference.resolved if message.reference else None
    return found if isinstance(found, discord.Message) else None


def text_of(message: discord.Message, me: int) -> str:
    """What was said, without the bot's own name; other names in words."""
    text = re.sub(rf"<@!?{me}>", "", message.content)
    own_role = message.guild.self_role if message.guild else None
    if own_role is not None:
        text = text.replace(f"<@&{own_role.id}>", "")
    text = with_names(text, {str(user.id): user.display_name for user in message.mentions}).strip()
    if not text and message.message_snapshots:
        return FORWARDED
    if not text and message.attachments:
        return LOOK
    return text


def with_names(text: str, names_by_id: Mapping[str, str]) -> str:
    """A text with names for the ids of people in it."""

    def name(match: "re.Match[str]") -> str:
        known = names_by_id.get(match[1])
        return match[0] if known is None else f"@{known}"

    return re.sub(r"<@!?(\d+)>", name, text)


def files_of(message: discord.Message) -> list[discord.Attachment]:
    """What is attached to a message or to what it forwards."""
    forwarded = [file for shot in message.message_snapshots for file in shot.attachments]
    return [*message.attachments, *forwarded]


def user_of(user_id: int) -> str:
    """Our name of a person."""
    return names.user_of(PLATFORM, str(user_id))


def user_id_of(user: str) -> int:
    """Discord's id of a person."""
    _, token = names.split_user(user)
    return int(names.decoded(token))
