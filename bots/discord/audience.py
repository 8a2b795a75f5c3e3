"""Where something was said on Discord, and who can read it.

Pure: no I/O. `Place.space` and `Place.channel` identify exactly one audience, so a channel whose
readers differ from its parent's must never be identified by the parent.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

import discord

from bots.discord.permissions import history_is_open
from shared import user_names
from shared.messages import Address, Place

PLATFORM: Final = "discord"

Audience = Literal["direct", "private", "public"]

TITLE_CHARS: Final = 90
"""A thread's name can have 100 characters."""

_THREADED: Final = frozenset({discord.ChannelType.text, discord.ChannelType.news})
"""Channels in which a thread can be opened on a message; every forum post is a thread already."""

_WITH_GUESTS: Final = (discord.VoiceChannel, discord.StageChannel)
"""People who are not members of the server can be invited to these channels only."""


def user_of(user_id: int) -> str:
    """Our id of a person."""
    return user_names.user_of(PLATFORM, str(user_id))


def user_id_of(user: str) -> int:
    """Discord's id of a person."""
    _, token = user_names.split_user(user)
    return int(user_names.decoded(token))


@dataclass(frozen=True, slots=True)
class Location:
    """A channel, reduced to what matters for access, audience and answers.

    `parent` is the channel of a thread, for permissions and settings; otherwise the channel itself.
    `audience_channel` has the same readers as this channel: for a public thread its parent,
    otherwise the channel itself. `history_is_open`: everybody who sees the channel can read its
    history.
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
    """The name that people gave their thread or forum post."""

    tags: tuple[str, ...] = ()
    """The tags of a forum post."""

    @property
    def audience(self) -> Audience:
        """Who can read what is said here."""
        return "direct" if self.direct else "public" if self.public else "private"

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of the channel and its parent."""
        return (self.channel, self.parent)


def guild_id_of(channel: object, guild: discord.Guild | None) -> int | None:
    """The server of a channel, even while the library does not know that server."""
    of_channel = guild or getattr(channel, "guild", None)
    known: int | None = of_channel.id if of_channel else getattr(channel, "guild_id", None)
    return known


def location_of(channel: object, guild: discord.Guild | None, channel_id: int, me: int) -> Location:
    """The location of a channel; an unknown one counts as private and as its own audience."""
    guild_id = guild_id_of(channel, guild)
    alone = Location(guild_id, channel_id, channel_id, channel_id)
    if guild_id is None:
        # Only the bot's own direct messages; not a group, nor other people's direct messages.
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
    # Only its members read a private thread, and it is unknown who reads one whose parent is
    # unknown.
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
        # The bot names its own threads after their first question.
        title="" if thread.owner_id == me else thread.name,
        tags=tuple(tag.name for tag in thread.applied_tags),
    )


def everyone_sees(channel: discord.abc.GuildChannel) -> bool:
    """Whether every member of the server sees a channel."""
    everyone = channel.guild.get_role(channel.guild.id)  # None while the server is not known yet
    return everyone is not None and channel.permissions_for(everyone).view_channel


def place_of(location: Location, source: int, answer_in: str) -> Place:
    """The place of a question; names the thread even before it is opened on the question.

    `source` is the message or interaction that asks. If people could be present who cannot read
    what was said before they came, each question stands alone.
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
    """The place of an event about an earlier question, with the audience that it has now.

    `known` is the question's own place, whose thread is kept. Since then, its channel may have been
    opened, hidden, or closed to newcomers.
    """
    now = place_of(location, source, answer_in)
    if known is not None and (known.space, known.channel) == (now.space, now.channel):
        return now.model_copy(update={"thread": known.thread})
    return now


def address_of(location: Location, message: int, answer_in: str, title: str = "") -> Address:
    """The return address of an answer, as `bots.discord.posting` reads it."""
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
    """A thread's name: the beginning of its question, on one line."""
    words = " ".join(re.sub(r"<[@#:][^<>]*>", " ", text).split())
    if len(words) > TITLE_CHARS:
        words = words[:TITLE_CHARS].rsplit(" ", 1)[0] + "…"
    return words or "…"
