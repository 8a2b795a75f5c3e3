"""Whether everybody who sees a channel can read its history, by Discord's permission rules.

Pure: no I/O. It must never say yes if a member with some combination of the server's roles could
see the channel without its history: a bot does not know which member has which roles.
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import combinations_with_replacement
from typing import NamedTuple

import discord


class Right(NamedTuple):
    """One permission of a role: whether the role grants it, and the channel's overwrite.

    The overwrite is None if it leaves the permission unchanged.
    """

    granted: bool
    overwrite: bool | None = None


class Rights(NamedTuple):
    """The two permissions of a role that matter here."""

    view: Right
    read: Right


class Personal(NamedTuple):
    """A channel's overwrites for one member."""

    view: bool | None = None
    read: bool | None = None


def history_is_open(channel: discord.abc.GuildChannel) -> bool:
    """Whether nobody can see a channel without being able to read its history.

    The owner and administrators are allowed everything. A category's overwrites only count if they
    were copied into the channel, which is what Discord does.
    """
    guild = channel.guild
    everyone = guild.get_role(guild.id)  # None while the server is not known yet
    if everyone is None:
        return False
    if everyone.permissions.administrator:
        return True
    overwrites = channel.overwrites
    denied = any(pair.read_message_history is False for pair in overwrites.values())
    if everyone.permissions.read_message_history and not denied:
        return True  # the ordinary case: everybody may read it, and nothing takes that away
    pairs = {who.id: pair for who, pair in overwrites.items()}
    none = discord.PermissionOverwrite()
    known = {role.id for role in guild.roles}
    roles = {
        _rights(role.permissions, pairs.get(role.id, none))
        for role in guild.roles
        if role.id != everyone.id and not role.permissions.administrator
    }
    personal = {Personal()}
    for who, pair in overwrites.items():
        if who.id in known:
            continue
        if getattr(who, "type", None) is discord.Role:  # assume the worst: the role grants access
            roles.add(_rights(discord.Permissions(view_channel=True), pair))
        else:
            personal.add(Personal(pair.view_channel, pair.read_message_history))
    for_all = _rights(everyone.permissions, pairs.get(everyone.id, none))
    return not someone_sees_without_history(for_all, roles, personal)


def someone_sees_without_history(
    everyone: Rights, roles: Collection[Rights], personal: Iterable[Personal]
) -> bool:
    """Whether a member with any of these roles could see the channel but not read its history.

    Pairs of roles are enough: one that lets the member see the channel, one that denies the
    history. A member with more roles who sees the channel without its history would also do so with
    such a pair.
    """
    return any(
        _allowed(everyone.view, (role.view for role in held), own.view)
        and not _allowed(everyone.read, (role.read for role in held), own.read)
        for own in personal
        for held in _held(roles)
    )


def _held(roles: Collection[Rights]) -> Iterator[tuple[Rights, ...]]:
    yield ()
    yield from combinations_with_replacement(roles, 2)


def _allowed(everyone: Right, roles: Iterable[Right], personal: bool | None) -> bool:  # noqa: FBT001
    """Discord's algorithm for one permission of a member who is not an administrator.

    https://docs.discord.com/developers/topics/permissions#permission-overwrites
    """
    if personal is not None:
        return personal
    granted, denied = everyone.granted, False
    for role in roles:
        if role.overwrite:  # one role that allows outranks all that deny
            return True
        denied = denied or role.overwrite is False
        granted = granted or role.granted
    if denied:
        return False
    return granted if everyone.overwrite is None else everyone.overwrite


def _rights(permissions: discord.Permissions, pair: discord.PermissionOverwrite) -> Rights:
    return Rights(
        Right(permissions.view_channel, pair.view_channel),
        Right(permissions.read_message_history, pair.read_message_history),
    )
