"""Who can see a channel without its history: our rule compared with Discord's, by brute force."""

import random
from itertools import combinations, product
from typing import Any

import discord
import pytest

from bots.discord.audience import location_of, place_of
from bots.discord.permissions import (
    Personal,
    Right,
    Rights,
    history_is_open,
    someone_sees_without_history,
)
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord_shapes import ADMINISTRATOR, READ_HISTORY, TEXT, VIEW_CHANNEL

BITS = (VIEW_CHANNEL, READ_HISTORY)
OVERWRITES = tuple(product((None, True, False), repeat=2))
"""All overwrites of the two permissions."""

SERVERS = 1500


def test_pairs_of_roles_are_enough() -> None:
    """Checking pairs of roles finds the same as checking every set of roles."""
    draw = random.Random(1)
    for granted in product((True, False), repeat=2):
        for pair in OVERWRITES:
            everyone = rights(granted, pair)
            for _ in range(40):
                roles = [drawn(draw) for _ in range(3)]
                own = Personal(*draw.choice(OVERWRITES))
                expected = any(
                    seen(everyone, held, person)
                    for count in range(4)
                    for held in combinations(roles, count)
                    for person in (Personal(), own)
                )
                found = someone_sees_without_history(everyone, set(roles), {Personal(), own})
                assert found is expected, (everyone, roles, own)


def rights(granted: tuple[bool, ...], pair: tuple[bool | None, ...]) -> Rights:
    return Rights(Right(granted[0], pair[0]), Right(granted[1], pair[1]))


def drawn(draw: random.Random) -> Rights:
    return rights((draw.random() < 0.5, draw.random() < 0.5), draw.choice(OVERWRITES))


def seen(everyone: Rights, held: tuple[Rights, ...], person: Personal) -> bool:
    """Whether this member sees the channel but not its history, by Discord's documented rules."""
    may = []
    for at in range(2):
        allowed = everyone[at].granted or any(role[at].granted for role in held)
        if everyone[at].overwrite is not None:
            allowed = bool(everyone[at].overwrite)
        if any(role[at].overwrite is False for role in held):
            allowed = False
        if any(role[at].overwrite is True for role in held):
            allowed = True
        own = person[at]
        may.append(allowed if own is None else own)
    return may[0] and not may[1]


# --- whole servers, as the library represents them ------------------------------------------------


class Server:
    """A server of the real library with some roles and one channel."""

    def __init__(self, draw: random.Random, state: Any) -> None:
        fake = FakeDiscord()
        fake.everyone = bits(draw)
        self.roles = [fake.role(f"role {n}", bits(draw, admin=0.05)) for n in range(3)]
        here = fake._channel("here", TEXT)
        self.member = int(fake.users["eve"]["id"])
        who = [(fake.guild_id, 0), *((role, 0) for role in self.roles), (self.member, 1)]
        fake.channels[here]["permission_overwrites"] = [
            {"id": str(number), "type": kind, **overwrite(draw)}
            for number, kind in who
            if draw.random() < 0.6
        ]
        self.guild = discord.Guild(data=fake.guild_payload(), state=state)  # type: ignore[arg-type]
        channel = self.guild.get_channel(here)
        assert isinstance(channel, discord.TextChannel)
        self.channel = channel
        self._fake = fake

    def someone_sees_without_history(self) -> bool:
        """Asks the library about every possible member."""
        return any(
            permissions.view_channel and not permissions.read_message_history
            for name in ("bob", "eve")
            for count in range(len(self.roles) + 1)
            for held in combinations(self.roles, count)
            for permissions in [self.channel.permissions_for(self._member(name, held))]
        )

    def _member(self, name: str, roles: tuple[int, ...]) -> discord.Member:
        data: Any = self._fake.member(name) | {"roles": [str(role) for role in roles]}
        return discord.Member(data=data, guild=self.guild, state=self.guild._state)


def bits(draw: random.Random, admin: float = 0.0) -> int:
    granted = sum(bit for bit in BITS if draw.random() < 0.5)
    return granted | (ADMINISTRATOR if draw.random() < admin else 0)


def overwrite(draw: random.Random) -> dict[str, str]:
    pair = draw.choice(OVERWRITES)
    allow = sum(bit for bit, says in zip(BITS, pair, strict=True) if says is True)
    deny = sum(bit for bit, says in zip(BITS, pair, strict=True) if says is False)
    return {"allow": str(allow), "deny": str(deny)}


@pytest.fixture
async def state() -> Any:
    """The state of a client of the library that is not connected."""
    return discord.Client(intents=discord.Intents.none())._connection


async def test_every_member_who_sees_an_open_channel_reads_its_history(state: Any) -> None:
    """A channel is closed only if a member could see it without its history."""
    draw = random.Random(2)
    shared = 0
    for _ in range(SERVERS):
        server = Server(draw, state)
        closed = server.someone_sees_without_history()
        assert history_is_open(server.channel) is not closed, server.channel._overwrites
        shared += not closed
    assert SERVERS / 10 < shared < SERVERS * 9 / 10


async def test_an_unknown_roles_overwrite_counts_as_the_worst_case(state: Any) -> None:
    """The role could let members see the channel but not its history."""
    draw = random.Random(3)
    server = Server(draw, state)
    everything = VIEW_CHANNEL | READ_HISTORY
    server.guild.default_role._permissions = everything
    for role in server.guild.roles:
        role._permissions = everything
    server.channel._overwrites = []
    assert history_is_open(server.channel)
    unknown: Any = {"id": "77", "type": 0, "allow": "0", "deny": str(READ_HISTORY)}
    server.channel._overwrites = [discord.abc._Overwrites(unknown)]
    assert not history_is_open(server.channel)
    assert place_of(
        location_of(server.channel, server.guild, server.channel.id, 1), 5, "reply"
    ).alone
