"""Where something was said on Discord, and whose eyes it reached.

Pure: no I/O. `Place.space` and `Place.channel` name exactly one audience, so a place whose readers
differ from its parent's must never be named by the parent.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

import discord

from bots.discord.permissions import history_is_open
from shared import names
from shared.messages import Address, Place

PLATFORM: Final = "discord"

Audience = Literal["direct", "private", "public"]

TITLE_CHARS: Final = 90
"""A thread's name may have 100 characters."""

_THREADED: Final = frozenset({discord.ChannelType.text, discord.ChannelType.news})
"""Where a thread can be opened on a message; in a forum every post is a thread already."""

_WITH_GUESTS: Final = (discord.VoiceChannel, discord.StageChannel)
"""Guests who are no members of the server can be invited to these alone."""


def user_of(user_id: int) -> str:
    """Our name of a person."""
    return names.user_of(PLATFORM, str(user_id))


def user_id_of(user: str) -> int:
    """Discord's id of a person."""
    _, token = names.split_user(user)
    return int(names.decoded(token))


@dataclass(frozen=True, slots=True)
class Location:
    """A channel as far as answers care.

    `parent` is the channel of a thread, for permissions and personas; elsewhere the channel itself.
    `audience_channel` is the channel whose readers are the readers here: the parent of a public
    the channel itself. `history_is_open`: everybody who can see it can read what was said before.
    """

    guild: int | None
    channel: int
    parent: int
    audience_channel: int
    direct: bool = False
    in_thread: bool = False
    own_thread: bool = False
    can_open_thread: bool = False
    public: bool = False
    history_is_open: bool = False
    title: str = ""
    """What people called their thread or forum post."""

    tags: tuple[str, ...] = ()
    """Those of a forum post."""

    @property
    def audience(self) -> Audience:
        """Who hears what is said here."""
        return "direct" if self.direct else "public" if self.public else "private"

    @property
    def ids(self) -> tuple[int, ...]:
        """Channel and parent."""
        return (self.channel, self.parent)


def guild_id_of(channel: object, guild: discord.Guild | None) -> int | None:
    """The server of a channel, even while the library does not know that server."""
    of_channel = guild or getattr(channel, "guild", None)
    known: int | None = of_channel.id if of_channel else getattr(channel, "guild_id", None)
    return known


def location_of(channel: object, guild: discord.Guild | None, channel_id: int, me: int) -> Location:
    """A place by its channel. What is not known counts as private and as a place of its own."""
    guild_id = guild_id_of(channel, guild)
    alone = Location(guild_id, channel_id, channel_id, channel_id)
    if guild_id is None:
        # Not a group of people, nor somebody else's direct messages: only the bot's own.
        direct = isinstance(channel, discord.DMChannel)
        return Location(
            None, channel_id, channel_id, channel_id, direct=direct, history_is_open=direct
        )
    if isinstance(channel, discord.Thread):
        return _thread(channel, guild_id, me)
    if isinstance(channel, discord.abc.GuildChannel):
        return Location(
            guild=guild_id,
            channel=channel.id,
            parent=channel.id,
            audience_channel=channel.id,
            can_open_thread=channel.type in _THREADED,
            public=everyone_sees(channel) and not isinstance(channel, _WITH_GUESTS),
            history_is_open=history_is_open(channel),
        )
    return alone


def _thread(thread: discord.Thread, guild_id: int, me: int) -> Location:
    parent = thread.parent
    # Its members alone read a private thread, and nothing says who reads one of an unknown parent.
    as_parent = parent is not None and thread.type is not discord.ChannelType.private_thread
    return Location(
        guild=guild_id,
        channel=thread.id,
        parent=thread.parent_id,
        audience_channel=thread.parent_id if as_parent else thread.id,
        in_thread=True,
        own_thread=thread.owner_id == me,
        public=as_parent and parent is not None and everyone_sees(parent),
        history_is_open=parent is not None and history_is_open(parent),
        # The bot calls its own threads by their first question.
        title="" if thread.owner_id == me else thread.name,
        tags=tuple(tag.name for tag in thread.applied_tags),
    )


def everyone_sees(channel: discord.abc.GuildChannel) -> bool:
    """Whether every member of the server sees a channel."""
    everyone = channel.guild.get_role(channel.guild.id)  # missing while the server is not known yet
    return everyone is not None and channel.permissions_for(everyone).view_channel


def place_of(location: Location, source: int, answer_in: str) -> Place:
    """The place of a question; a thread to be opened on it is named by it already.

    `source` is the message or interaction that asks. If people can be present without the right to
    read what was said before they came, each question stands alone.
    """
    opens = location.can_open_thread and answer_in == "thread"
    thread = location.channel if location.in_thread else source if opens else None
    return Place(
        platform=PLATFORM,
        space=str(location.guild or ""),
        channel=str(location.audience_channel),
        thread=str(thread or ""),
        audience=location.audience,
        alone=not location.history_is_open,
    )


def current_place_of(known: Place | None, location: Location, source: int, answer_in: str) -> Place:
    """The place of an event about an earlier question, with the audience that the location has now.

    `known` is the question's own place, whose thread is kept: a channel may have been opened,
    hidden, or closed to newcomers since.
    """
    now = place_of(location, source, answer_in)
    if known is not None and (known.space, known.channel) == (now.space, now.channel):
        return now.model_copy(update={"thread": known.thread})
    return now


def address_of(location: Location, message: int, answer_in: str, title: str = "") -> Address:
    """What an answer needs: see `bots.discord.posting`."""
    address = {"channel": str(location.channel), "message": str(message)}
    if location.can_open_thread and answer_in == "thread":
        address |= {"open": "1", "title": title_of(title)}
    elif answer_in == "reply" and location.guild is not None:
        address["reply"] = "1"
    return address


def can_be_answered(address: Address) -> bool:
    """Whether an address says where an answer belongs; that of an unreadable event is empty."""
    numbers = ["channel", "message"]
    if "token" in address:
        numbers += ["expires", "application"]
    return all(address.get(key, "").isdecimal() for key in numbers)


def title_of(text: str) -> str:
    """A thread's name: the first words of its question, in one line."""
    words = " ".join(re.sub(r"<[@#:][^<>]*>", " ", text).split())
    if len(words) > TITLE_CHARS:
        words = words[:TITLE_CHARS].rsplit(" ", 1)[0] + "…"
    return words or "…"
