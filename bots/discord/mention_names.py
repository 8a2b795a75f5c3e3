"""Decides which role and channel names a message is shown with.

Pure: no I/O. It must never name a channel that some readers of this one cannot see: Discord shows
them "No Access" instead, and an answer here would reveal the name.
"""

import discord

from bots.discord.audience import everyone_sees
from bots.discord.markup import NO_NAMES, MentionNames


def mention_names_in(channel: object, guild: discord.Guild | None) -> MentionNames:
    """The names for a message in this channel."""
    if guild is None:
        return NO_NAMES
    here = _governing(channel)

    def role(number: int) -> str | None:
        found = guild.get_role(number)
        return found.name if found else None

    def named(number: int) -> str | None:
        found = guild.get_channel_or_thread(number)
        if found is None or (found is not channel and not _seen_by_all(found, here)):
            return None
        return found.name

    return MentionNames(role, named)


def _governing(channel: object) -> discord.abc.GuildChannel | None:
    """The channel whose permissions apply here: for a thread, its parent."""
    found = channel.parent if isinstance(channel, discord.Thread) else channel
    return found if isinstance(found, discord.abc.GuildChannel) else None


def _seen_by_all(channel: object, here: discord.abc.GuildChannel | None) -> bool:
    """Whether everybody who reads here certainly sees that channel as well."""
    if isinstance(channel, discord.Thread) and channel.is_private():
        return False
    there = _governing(channel)
    if there is None:
        return False
    same = here is not None and (there is here or there.overwrites == here.overwrites)
    return same or everyone_sees(there)
