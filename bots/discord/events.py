"""Discord's messages as events: who is addressed, who wrote it, and what was said.

Pure: no I/O. Names, quotes and forwards are data. It must never mistake a message of a bot, a
webhook or Discord itself for a person's.
"""

import re
from dataclasses import dataclass
from typing import Final

import discord

from bots.discord.audience import Location
from bots.discord.markup import MentionNames
from bots.discord.mention_names import mention_names_in
from bots.discord.payloads import SPOKEN, Json, dict_in
from bots.discord.rich_message import forwards_of, own_text

FORWARDED: Final = "(What is forwarded here?)"
"""The question of somebody who forwards a message without a comment."""

LOOK: Final = "(Look at the attached files.)"
ABOUT_THAT: Final = "(What do you say about the message that this one replies to?)"
"""The question of somebody who replies to a message with nothing but the bot's name."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message as the library parsed it and as Discord sent it; the library drops some fields."""

    message: discord.Message
    raw: Json

    @property
    def mention_names(self) -> MentionNames:
        """The names of roles and channels that may appear in it."""
        return mention_names_in(self.message.channel, self.message.guild)


def is_from_person(received: Received, me: int) -> bool:
    """Whether a person wrote it, and not a bot, a webhook or an account of Discord's own."""
    message = received.message
    # The library drops this field for members of a server.
    of_discord = dict_in(received.raw.get("author")).get("system")
    return (
        message.author.id != me
        and not message.author.bot
        and not of_discord
        and message.webhook_id is None
        and message.type in SPOKEN
    )


def is_for_bot(message: discord.Message, location: Location, me: int) -> bool:
    """Whether it is for the bot: direct, by mention or role, a reply to it, or in its thread."""
    if location.direct or any(user.id == me for user in message.mentions):
        return True
    own_role = message.guild.self_role if message.guild else None
    if own_role is not None and own_role.id in message.raw_role_mentions:
        return True
    answered = referenced_message(message)
    if answered is not None and answered.author.id == me:
        return True
    # In the bot's own thread people talk to the bot, unless they mention somebody else.
    return location.own_thread and not message.raw_mentions and not message.raw_role_mentions


def referenced_message(message: discord.Message) -> discord.Message | None:
    """The message that this one replies to."""
    found = message.reference.resolved if message.reference else None
    return found if isinstance(found, discord.Message) else None


def text_of(received: Received, me: int) -> str:
    """The text without the bot's own mention; other mentions by name."""
    message, raw = received.message, received.raw
    own = re.sub(rf"<@!?{me}>", "", message.content)
    own_role = message.guild.self_role if message.guild else None
    if own_role is not None:
        own = own.replace(f"<@&{own_role.id}>", "")
    text = own_text({**raw, "content": own}, received.mention_names)
    if text:
        return text
    if forwards_of(raw):
        return FORWARDED
    if message.attachments:
        return LOOK
    return ABOUT_THAT if message.content and referenced_message(message) else ""
