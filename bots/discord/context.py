"""One person's question on its way into the stream, by whichever way it was asked.

Messages, commands and buttons share it: who may ask where, what a place is, files and quotes, and
one queue per person. It must never store one person's events in another order than they came.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import discord

from bots.discord import events
from bots.discord.access import Asker, Refusal, refusal
from bots.discord.audience import Location, address_of, guild_id_of, location_of, place_of
from bots.discord.client import Client
from bots.discord.clock import DiscordClock
from bots.discord.downloads import UserFiles, files_with
from bots.discord.errors import FAILURES, post_error
from bots.discord.files import Put
from bots.discord.markup import NO_NAMES, MentionNames
from bots.discord.settings import DiscordSettings
from bots.discord.store import Store
from bots.discord.thread_reader import ThreadReader
from bots.fitting import fitted
from bots.platform import Later, Publish
from bots.user_queues import UserQueues
from shared.connection import Unavailable
from shared.log import logger
from shared.messages import AnyEvent, Ask, Place, Quote

FETCHED_KEPT: Final = 1000
RETRY_FIRST_S: Final = 0.2
RETRY_LAST_S: Final = 5.0
ROLES_WITHIN_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody asks with a message or a command; `source` is its id."""

    source: int
    event_id: str
    author: int
    location: Location
    text: str
    quotes: tuple[Quote, ...] = ()
    files: tuple[discord.Message, ...] = ()
    """Messages whose files go with it."""

    quoted: int = 0
    mention_names: MentionNames = NO_NAMES


class Context:
    """`client` is the one that is connected; events go where `start` says."""

    def __init__(
        self, settings: DiscordSettings, put: Put, store: Store, clock: DiscordClock
    ) -> None:
        self.client: Client | None = None
        self.queues = UserQueues()
        self.clock = clock
        self._settings = settings
        self._put = put
        self._store = store
        self.threads = ThreadReader(lambda: self.client, store)
        self._publish_once: Publish | None = None
        self._fetched: OrderedDict[int, object] = OrderedDict()

    def start(self, publish: Publish) -> None:
        """From now on events go there."""
        self._publish_once = publish

    @property
    def me(self) -> int:
        """The bot's own id."""
        assert self.client is not None  # noqa: S101  (events come from a client)
        assert self.client.user is not None  # noqa: S101
        return self.client.user.id

    async def ask(self, question: Question, answer_in: str) -> tuple[Ask, bool]:
        """The question as an event, its files stored; and whether a file found no room."""
        location = question.location
        voice = self._settings.voice(location.channel, location.parent, location.guild)
        stored = UserFiles(self._put, events.user_of(question.author))
        thread = await self.threads.quotes_of_thread(
            location,
            question.source,
            question.author,
            question.mention_names,
            leave_out=question.quoted,
        )
        ask = Ask(
            id=question.event_id,
            user=events.user_of(question.author),
            place=place_of(location, question.source, answer_in),
            address=address_of(location, question.source, answer_in, question.text),
            said_at=discord.utils.snowflake_time(question.source),
            text=question.text,
            quotes=(*thread, *question.quotes),
            attachments=await files_with(question.files, question.event_id, stored.keep),
            persona=voice.persona,
            model=voice.model,
        )
        return fitted(ask), stored.full

    async def publish(self, event: AnyEvent) -> object:
        """Stores an event, trying until NATS has it; False if it was stored before.

        Raises:
            TooLarge: it will never fit.
            OverQuota: this person has stored as much as one may.
        """
        assert self._publish_once is not None  # noqa: S101  (set before the client starts)
        wait_s = RETRY_FIRST_S
        while True:
            try:
                return await self._publish_once(event)
            except Unavailable:
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, RETRY_LAST_S)

    def remember_question(self, source: int, user: str, place: Place) -> None:
        """Remembers who asked with a message, a command or a button."""
        self._store.remember_question(source, user, place)

    def asker_of(self, source: int) -> tuple[str, Place] | None:
        """Who asked with it, and where; None if nobody did, or long ago."""
        return self._store.asker_of(source)

    async def refusal(self, author: discord.abc.User, location: Location) -> Refusal | None:
        """Why this person may not ask there."""
        if location.guild is None and not location.direct:
            return "place"  # a group's conversation, or other people's
        roles: tuple[int, ...] = ()
        if location.guild is not None and (self._settings.allow_roles or self._settings.deny_roles):
            roles = await self._roles(author, location.guild)
        return refusal(self._settings, Asker(author.id, location.guild, location.ids, roles))

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

    async def location_of(self, channel: object, guild: discord.Guild | None) -> Location:
        """The place of a channel; asks Discord about one that is not known, an old thread say.

        A channel that Discord does not show is a private place of its own.
        """
        number: int = getattr(channel, "id", 0)
        if isinstance(channel, discord.PartialMessageable):
            found = self._fetched.get(number)
            if found is None and self.client is not None:
                found = await _fetched(self.client, number) or channel
                # The library notices no change of a channel that it does not know. A thread asks
                # its parent, which may become known later.
                if guild is not None and not isinstance(found, discord.abc.GuildChannel):
                    self._fetched[number] = found
                while len(self._fetched) > FETCHED_KEPT:
                    self._fetched.popitem(last=False)
            channel = found
            if guild_id_of(channel, guild) is None:
                guild = getattr(channel, "guild", None)
        return location_of(channel, guild, number, self.me)


async def _fetched(client: Client, channel: int) -> object:
    """A channel; None if Discord does not show it, or the library cannot read what it shows.

    Raises one of `FAILURES` if another try may help.
    """
    try:
        return await client.fetch_channel(channel)
    except (discord.NotFound, discord.Forbidden) as error:
        if isinstance(post_error(error), Later):
            raise
        return None
    except discord.InvalidData:
        return None
    except FAILURES:
        raise
    except Exception as error:  # noqa: BLE001  (whatever Discord sent)
        logger().error("channel not readable", channel=channel, error=type(error).__name__)
        return None
