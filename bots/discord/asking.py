"""One person's question on its way into the stream, by whichever way it was asked.

Messages, commands and buttons share it: who may ask where, what a place is, the files, and one lane
a person. It must never store one person's events in another order than they came.
"""

import asyncio
import weakref
from collections import OrderedDict
from typing import Final

import discord

from bots.discord import events
from bots.discord.access import Asker, Refusal, refusal
from bots.discord.client import Client
from bots.discord.files import Put, attached
from bots.discord.refusals import FAILURES
from bots.discord.settings import DiscordSettings
from bots.platform import Publish
from shared.connection import Unavailable
from shared.messages import AnyEvent, Ask, Attachment, Quote

FETCHED_KEPT: Final = 1000
RETRY_FIRST_S: Final = 0.2
RETRY_LAST_S: Final = 5.0
ROLES_WITHIN_S: Final = 10.0


class Asking:
    """`client` is the one that is connected; events go where `start` says."""

    def __init__(self, settings: DiscordSettings, store: Put) -> None:
        self.client: Client | None = None
        self._settings = settings
        self._store = store
        self._publish_once: Publish | None = None
        self._fetched: OrderedDict[int, object] = OrderedDict()
        self._lanes: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    def start(self, publish: Publish) -> None:
        """From now on events go there."""
        self._publish_once = publish

    @property
    def me(self) -> int:
        """The bot's own id."""
        assert self.client is not None  # noqa: S101  (events come from a client)
        assert self.client.user is not None  # noqa: S101
        return self.client.user.id

    async def ask(
        self,
        message_id: int,
        event_id: str,
        author: int,
        spot: events.Spot,
        text: str,
        *,
        quotes: tuple[Quote, ...],
        files: list[discord.Message],
    ) -> Ask:
        """The question of a message, with its files stored."""
        voice = self._settings.voice(spot.channel, spot.parent, spot.guild)
        return Ask(
            id=event_id,
            user=events.user_of(author),
            place=events.place_of(spot, message_id, self._settings.answer_in),
            address=events.address_of(spot, message_id, self._settings.answer_in, text),
            said_at=discord.utils.snowflake_time(message_id),
            text=text,
            quotes=quotes,
            attachments=await self._attachments(files, event_id),
            persona=voice.persona,
            model=voice.model,
        )

    async def _attachments(
        self, messages: list[discord.Message], name: str
    ) -> tuple[Attachment, ...]:
        async def put(blob: str, data: bytes) -> None:
            wait_s = RETRY_FIRST_S
            while True:
                try:
                    return await self._store(blob, data)
                except Unavailable:
                    await asyncio.sleep(wait_s)
                    wait_s = min(wait_s * 2, RETRY_LAST_S)

        found: tuple[Attachment, ...] = ()
        for message in messages:
            if files := events.files_of(message):
                fetch = _Fetch(message).fetch
                found += await attached(files, name, fetch, put)
        return found

    def lane(self, user: str) -> asyncio.Lock:
        """One user's events are stored in the order in which they came."""
        lock = self._lanes.get(user)
        if lock is None:
            lock = self._lanes[user] = asyncio.Lock()
        return lock

    async def publish(self, event: AnyEvent) -> object:
        """Stores an event, trying until NATS has it; False if it was stored before.

        Raises:
            TooLarge: it will never fit.
        """
        assert self._publish_once is not None  # noqa: S101  (set before the client starts)
        wait_s = RETRY_FIRST_S
        while True:
            try:
                return await self._publish_once(event)
            except Unavailable:
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, RETRY_LAST_S)

    async def refusal(self, author: discord.abc.User, spot: events.Spot) -> Refusal | None:
        """Why this person may not ask there."""
        roles: tuple[int, ...] = ()
        if spot.guild is not None and (self._settings.allow_roles or self._settings.deny_roles):
            roles = await self._roles(author, spot.guild)
        return refusal(self._settings, Asker(author.id, spot.guild, spot.ids, roles))

    async def _roles(self, author: discord.abc.User, guild_id: int) -> tuple[int, ...]:
        if isinstance(author, discord.Member) and author.guild.id == guild_id:
            return tuple(role.id for role in author.roles)
        # History comes without roles.
        guild = self.client.get_guild(guild_id) if self.client else None
        if guild is None:
            return ()
        async with asyncio.timeout(ROLES_WITHIN_S):
            member = await guild.fetch_member(author.id)
        return tuple(role.id for role in member.roles)

    async def spot_of(self, channel: object, guild: discord.Guild | None) -> events.Spot:
        """The place of a channel; asks Discord about one that is not known, an old thread say."""
        number: int = getattr(channel, "id", 0)
        if isinstance(channel, discord.PartialMessageable):
            channel = self._fetched.get(number)
            if channel is None and self.client is not None:
                channel = await self.client.fetch_channel(number)
                self._fetched[number] = channel
                while len(self._fetched) > FETCHED_KEPT:
                    self._fetched.popitem(last=False)
            guild = guild or getattr(channel, "guild", None)
        return events.spot_of(channel, guild, number, self.me)


class _Fetch:
    """Fetches the files of one message; an address that has expired is asked for once more."""

    def __init__(self, message: discord.Message) -> None:
        self._message = message

    async def fetch(self, file: discord.Attachment) -> bytes | None:
        """The file's bytes; None where it cannot be had."""
        try:
            return await file.read()
        except (discord.NotFound, discord.Forbidden):
            pass
        except FAILURES:
            return None
        try:
            fresh = await self._message.channel.fetch_message(self._message.id)
            renewed = next(f for f in events.files_of(fresh) if f.id == file.id)
            return await renewed.read()
        except (*FAILURES, StopIteration):
            return None
