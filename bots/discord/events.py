"""Discord's messages as our events: who is spoken to, where it was said, what was said.

Pure: no I/O. Names, quotes and what was forwarded are data; it must never take a bot's, a
webhook's or the system's message for a person's.
"""

import re
from dataclasses import dataclass
from typing import Final

import discord

from shared import names
from shared.messages import Address, Place, Quote

PLATFORM: Final = "discord"

TITLE_CHARS: Final = 90
"""A thread's name may have 100 characters."""

QUOTE_CHARS: Final = 4000
"""The longest message there is."""

FORWARDED: Final = "(What is forwarded here?)"
"""Stands for the question where somebody forwards a message and says nothing."""

LOOK: Final = "(Look at what is attached.)"

_SPOKEN: Final = frozenset({discord.MessageType.default, discord.MessageType.reply})
_THREADED: Final = frozenset({discord.ChannelType.text, discord.ChannelType.news})
"""Where a thread can be opened on a message; in a forum every post is a thread already."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A channel as far as answers care."""

    guild: int | None
    channel: int
    parent: int
    in_thread: bool
    own_thread: bool
    can_open_thread: bool
    public: bool

    @property
    def ids(self) -> tuple[int, ...]:
        """Channel and parent."""
        return (self.channel, self.parent)


def spot_of(channel: object, guild: discord.Guild | None, channel_id: int, me: int) -> Spot:
    """A place by its channel; what is not known counts as private."""
    if guild is None:
        return Spot(None, channel_id, channel_id, False, False, False, False)  # noqa: FBT003
    if isinstance(channel, discord.Thread):
        public = channel.type is not discord.ChannelType.private_thread
        parent = channel.parent
        return Spot(
            guild=guild.id,
            channel=channel.id,
            parent=channel.parent_id,
            in_thread=True,
            own_thread=channel.owner_id == me,
            can_open_thread=False,
            public=public and parent is not None and _everyone_sees(parent, guild),
        )
    known = isinstance(channel, discord.abc.GuildChannel)
    return Spot(
        guild=guild.id,
        channel=channel_id,
        parent=channel_id,
        in_thread=False,
        own_thread=False,
        can_open_thread=known and getattr(channel, "type", None) in _THREADED,
        public=isinstance(channel, discord.abc.GuildChannel) and _everyone_sees(channel, guild),
    )


def _everyone_sees(channel: discord.abc.GuildChannel, guild: discord.Guild) -> bool:
    everyone = guild.get_role(guild.id)  # missing while the server is not known yet
    return everyone is not None and channel.permissions_for(everyone).view_channel


def from_person(message: discord.Message, me: int) -> bool:
    """Whether a person wrote it, with words or files."""
    return (
        message.author.id != me
        and not message.author.bot
        and message.webhook_id is None
        and message.type in _SPOKEN
    )


def speaks_to_bot(message: discord.Message, spot: Spot, me: int) -> bool:
    """Whether it is for the bot: direct, by name or role, in answer to it, or in its thread."""
    if spot.guild is None or any(user.id == me for user in message.mentions):
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
    shown = {str(user.id): f"@{user.display_name}" for user in message.mentions}
    text = re.sub(r"<@!?(\d+)>", lambda match: shown.get(match[1], match[0]), text)
    text = text.strip()
    if not text and message.message_snapshots:
        return FORWARDED
    if not text and message.attachments:
        return LOOK
    return text


def quotes_of(message: discord.Message, me: int) -> tuple[Quote, ...]:
    """What travels with a question: the message that it answers, and what it forwards.

    The bot's own words are no news to it: the conversation holds them.
    """
    quotes = []
    answered = original_of(message)
    if answered is not None and answered.author.id != me and answered.content:
        quotes.append(quote_of(answered))
    quotes += [
        Quote(author="forwarded", text=snapshot.content[:QUOTE_CHARS])
        for snapshot in message.message_snapshots
        if snapshot.content
    ]
    return tuple(quotes)


def quote_of(message: discord.Message) -> Quote:
    """A message as a quotation."""
    return Quote(author=message.author.display_name, text=message.content[:QUOTE_CHARS])


def files_of(message: discord.Message) -> list[discord.Attachment]:
    """What is attached to a message or to what it forwards."""
    forwarded = [file for shot in message.message_snapshots for file in shot.attachments]
    return [*message.attachments, *forwarded]


def place_of(spot: Spot, message: int, answer_in: str) -> Place:
    """The place of a question; a thread to be opened on it is named by it already."""
    opens = spot.can_open_thread and answer_in == "thread"
    thread = spot.channel if spot.in_thread else message if opens else None
    return Place(
        platform=PLATFORM,
        space=str(spot.guild or ""),
        channel=str(spot.parent),
        thread=str(thread or ""),
        audience="direct" if spot.guild is None else "public" if spot.public else "private",
    )


def address_of(spot: Spot, message: int, answer_in: str, title: str = "") -> Address:
    """What an answer needs: see `bots.discord.posting`."""
    address = {"channel": str(spot.channel), "message": str(message)}
    if spot.can_open_thread and answer_in == "thread":
        address |= {"open": "1", "title": title_of(title)}
    elif answer_in == "reply" and spot.guild is not None:
        address["reply"] = "1"
    return address


def title_of(text: str) -> str:
    """A thread's name: the first words of its question, in one line."""
    words = " ".join(re.sub(r"<[@#:][^<>]*>", " ", text).split())
    if len(words) > TITLE_CHARS:
        words = words[:TITLE_CHARS].rsplit(" ", 1)[0] + "…"
    return words or "…"


def user_of(user_id: int) -> str:
    """Our name of a person."""
    return names.user_of(PLATFORM, str(user_id))


def user_id_of(user: str) -> int:
    """Discord's id of a person."""
    _, token = names.split_user(user)
    return int(names.decoded(token))
