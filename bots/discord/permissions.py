"""Whether everybody who sees a channel may read its past, by Discord's rules of permissions.

Pure: no I/O. It must never answer yes if a member with some combination of the server's roles could
see the channel without its past: the bot is not told who holds which roles.
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import combinations_with_replacement
from typing import NamedTuple

import discord


class Right(NamedTuple):
    """One permission of a role: what the role itself grants, and what the channel's overwrite says.

    An overwrite is None if it leaves the permission as it is.
    """

    granted: bool
    overwrite: bool | None = None


class Rights(NamedTuple):
    """The two permissions of a role that matter here."""

    view: Right
    read: Right


class Personal(NamedTuple):
    """The overwrites of a channel for one member."""

    view: bool | None = None
    read: bool | None = None


def history_is_open(channel: discord.abc.GuildChannel) -> bool:
    """Whether nobody can see a channel without reading its history.

    The owner and administrators may do everything. A category's overwrites count only as far as
    they are copied into the channel, as Discord does it.
    """
    guild = channel.guild
    everyone = guild.get_role(guild.id)  # missing while the server is not known yet
    if everyone is None:
        return False
    if everyone.permissions.administrator:
        return True
    pairs = {who.id: pair for who, pair in channel.overwrites.items()}
    none = discord.PermissionOverwrite()
    known = {role.id for role in guild.roles}
    roles = {
        _rights(role.permissions, pairs.get(role.id, none))
        for role in guild.roles
        if role.id != everyone.id and not role.permissions.administrator
    }
    personal = {Personal()}
    for who, pair in channel.overwrites.items():
        if who.id in known:
            continue
        if getattr(who, "type", None) is discord.Role:  # the worst that this role may grant
            roles.add(_rights(discord.Permissions(view_channel=True), pair))
        else:
            personal.add(Personal(pair.view_channel, pair.read_message_history))
    for_all = _rights(everyone.permissions, pairs.get(everyone.id, none))
    return not someone_sees_without_history(for_all, roles, personal)


def someone_sees_without_history(
    everyone: Rights, roles: Collection[Rights], personal: Iterable[Personal]
) -> bool:
    """Whether a member with any of these roles could see the channel and not read its history.

    Two roles are enough to look at: one by which the member sees the channel, one that takes the
    history away. Whoever has more roles and still sees the channel without its past would do so
    with these two alone.
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
    """Discord's own algorithm for one permission of a member who is not an administrator.

    https://docs.discord.com/developers/topics/permissions#permission-overwrites
    """
    if personal is not None:
        return personal
    granted, denied = everyone.granted, False
    for role in roles:
        if role.overwrite:  # of several roles, one that allows outranks those that deny
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
