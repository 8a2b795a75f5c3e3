"""The state that messages, commands and buttons share, and a question's way into the stream.

It checks access, finds out where something was said, and keeps one queue per person. It must never
store one person's events in another order than they came.
"""

import asyncio
from dataclasses import dataclass
from typing import Final, NamedTuple

import discord

from bots.discord.access import Asker, Refusal, refusal
from bots.discord.audience import Location, address_of, guild_id_of, location_of, place_of, user_of
from bots.discord.clock import DiscordClock
from bots.discord.downloads import UserFiles, files_with
from bots.discord.errors import FAILURES, post_error
from bots.discord.files import Put
from bots.discord.settings import DiscordSettings
from bots.discord.shared_state import FollowedChannels, SharedQuestions
from bots.discord.store import KnownQuestion, Store
from bots.fitting import fitted
from bots.platform import Later, Publish
from bots.user_queues import UserQueues
from shared.connection import Unavailable
from shared.log import logger
from shared.messages import AnyEvent, Ask, Quote
from shared.recent import RecentMap

FETCHED_KEPT: Final = 1000
RETRY_FIRST_S: Final = 0.2
RETRY_LAST_S: Final = 5.0
ROLES_WITHIN_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Question:
    """A question from a message or a command; `source` is the id of that message or command."""

    source: int
    event_id: str
    author: discord.abc.User
    location: Location
    text: str
    quotes: tuple[Quote, ...] = ()
    files: tuple[discord.Message, ...] = ()
    """The messages whose attachments belong to the question."""


class Prepared(NamedTuple):
    """A question as an event; `files_left_out`: at least one file could not be stored."""

    ask: Ask
    files_left_out: bool


class Context:
    """Shared by everything that handles events; `put` stores a file, `publish` an event."""

    def __init__(
        self,
        settings: DiscordSettings,
        put: Put,
        publish: Publish,
        store: Store,
        clock: DiscordClock,
        *,
        budget_roles: frozenset[str] = frozenset(),
    ) -> None:
        self.settings = settings
        self.store = store
        self.clock = clock
        self._budget_roles = budget_roles
        self.queues = UserQueues()
        self.client: discord.Client | None = None
        self.guilds_known = False
        """Whether the session has received its servers; nobody's audience is known before that."""

        self._followed: FollowedChannels | None = None
        self._questions: SharedQuestions | None = None
        self._put = put
        self._publish_once = publish
        self._fetched: RecentMap[int, object] = RecentMap(FETCHED_KEPT)

    def share(self, followed: FollowedChannels, questions: SharedQuestions) -> None:
        """Keep where the next process, perhaps on another machine, finds it what it must know."""
        self._followed, self._questions = followed, questions

    async def follow(self, location: Location, message: int) -> None:
        """Note that the bot is addressed here, before the message is published."""
        if self._followed is not None:
            await self._followed.add(location.channel)
        self.store.follow(location.channel, message, direct=location.direct)

    async def remember_question(self, message: int, ask: Ask) -> None:
        """Note who asked with this message: a later edit or deletion belongs to them."""
        self.store.remember_question(message, ask.user, ask.place)
        if self._questions is not None:
            await self._questions.put(ask.id, ask.user, ask.place)

    async def question(self, message: int) -> KnownQuestion | None:
        """The question that was asked with this message, perhaps of another process."""
        known = self.store.question(message)
        if known is None and self._questions is not None:
            known = await self._questions.get(f"discord-{message}")
            if known is not None:
                self.store.remember_question(message, known.user, known.place)
        return known

    def connect(self, client: discord.Client) -> None:
        """Set the client from which events come."""
        self.client = client
        self.guilds_known = False

    @property
    def me(self) -> int:
        """The bot's own user id."""
        assert self.client is not None  # noqa: S101  (events come from a client)
        assert self.client.user is not None  # noqa: S101
        return self.client.user.id

    async def prepare(self, question: Question, answer_in: str) -> Prepared:
        """Turn a question into an event, and store its files."""
        location = question.location
        channel = self.settings.channel_settings(location.channel, location.parent, location.guild)
        user = user_of(question.author.id)
        files = UserFiles(self._put, user)
        ask = Ask(
            id=question.event_id,
            user=user,
            place=place_of(location, question.source, answer_in),
            address=address_of(location, question.source, answer_in, question.text),
            said_at=discord.utils.snowflake_time(question.source),
            text=question.text,
            quotes=question.quotes,
            attachments=await files_with(question.files, question.event_id, files.keep),
            persona=channel.persona,
            model=channel.model,
            roles=await self._roles_with_budget(question.author, location.guild),
        )
        return Prepared(fitted(ask), files.full)

    async def publish(self, event: AnyEvent) -> bool:
        """Store an event, retrying until NATS has it; False if it was already stored.

        Raises:
            TooLarge: it will never fit.
            OverQuota: this person has stored as much as one person may.
        """
        wait_s = RETRY_FIRST_S
        while True:
            try:
                return await self._publish_once(event)
            except Unavailable:
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, RETRY_LAST_S)

    async def refusal(self, author: discord.abc.User, location: Location) -> Refusal | None:
        """Why this person is not allowed to ask there; None if they are."""
        if location.guild is None and not location.direct:
            return "place"  # a group conversation, or other people's direct messages
        roles: tuple[int, ...] = ()
        if location.guild is not None and (self.settings.allow_roles or self.settings.deny_roles):
            roles = await self._roles(author, location.guild)
        return refusal(self.settings, Asker(author.id, location.guild, location.ids, roles))

    async def _roles_with_budget(
        self, author: discord.abc.User, guild_id: int | None
    ) -> tuple[str, ...]:
        """The roles that have a budget; none if Discord does not say, so that others apply."""
        if not self._budget_roles or guild_id is None:
            return ()
        try:
            held = map(str, await self._roles(author, guild_id))
        except (discord.HTTPException, TimeoutError):
            return ()
        return tuple(role for role in held if role in self._budget_roles)

    async def _roles(self, author: discord.abc.User, guild_id: int) -> tuple[int, ...]:
        if isinstance(author, discord.Member) and author.guild.id == guild_id:
            return tuple(role.id for role in author.roles)
        # Messages read from the history do not include their author's roles.
        guild = self.client.get_guild(guild_id) if self.client else None
        if guild is None:
            return ()
        async with asyncio.timeout(ROLES_WITHIN_S):
            member = await guild.fetch_member(author.id)
        return tuple(role.id for role in member.roles)

    async def location_of(self, channel: object, guild: discord.Guild | None) -> Location:
        """The location of a channel; fetches a channel that the library does not know.

        A channel that Discord does not show counts as private and as a location of its own.
        """
        number: int = getattr(channel, "id", 0)
        if isinstance(channel, discord.PartialMessageable):
            found = self._fetched.get(number)
            if found is None and self.client is not None:
                found = await _fetch(self.client, number) or channel
                # The library does not update channels that it does not know, so only threads are
                # cached: a thread looks up its parent each time.
                if guild is not None and not isinstance(found, discord.abc.GuildChannel):
                    self._fetched[number] = found
            channel = found
            if guild_id_of(channel, guild) is None:
                guild = getattr(channel, "guild", None)
        return location_of(channel, guild, number, self.me)


async def _fetch(client: discord.Client, channel: int) -> object:
    """Fetch a channel; None if Discord does not show it, or the library cannot read it.

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
