"""Decides who is allowed to ask the bot, and where.

Pure. Roles only count in the server in which something was said, never in a direct message.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from bots.discord.settings import DiscordSettings

Refusal = Literal["place", "person", "direct"]


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and where.

    `guild` is None in a direct message; `channels` are a thread and its parent.
    """

    user: int
    guild: int | None
    channels: Collection[int]
    roles: Collection[int] = ()


def refusal(settings: DiscordSettings, asker: Asker) -> Refusal | None:
    """Why this person is not allowed to ask here, or None. A denial outranks any permission."""
    if asker.user in settings.deny_users:
        return "person"
    if asker.guild is None:
        policy = settings.direct_messages
        may = policy == "everyone" or (policy == "allowed" and asker.user in settings.allow_users)
        return None if may else "direct"
    if not _allowed_place(settings, asker.guild, asker.channels):
        return "place"
    if _any(asker.roles, settings.deny_roles):
        return "person"
    named = asker.user in settings.allow_users or _any(asker.roles, settings.allow_roles)
    return None if named or not (settings.allow_users or settings.allow_roles) else "person"


def _allowed_place(settings: DiscordSettings, guild: int, channels: Collection[int]) -> bool:
    denied = guild in settings.deny_guilds or _any(channels, settings.deny_channels)
    here = not settings.allow_guilds or guild in settings.allow_guilds
    there = not settings.allow_channels or _any(channels, settings.allow_channels)
    return here and there and not denied


def _any(these: Collection[int], those: Collection[int]) -> bool:
    return any(one in those for one in these)
