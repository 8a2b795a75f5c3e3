"""What people write on Discord, on its way into the stream: each message once, none left behind.

A message is in hand until its event is stored; the mark in `Memory` stays below it for so long. It
must never answer a bot, nor take a message that was not meant for this one.
"""

import asyncio
import contextlib
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import discord
from discord.utils import time_snowflake

from bots.discord import events
from bots.discord.access import Asker, Refusal, refusal
from bots.discord.backfill import read_missed
from bots.discord.client import Client
from bots.discord.files import Put, attached
from bots.discord.memory import Memory
from bots.discord.posting import Poster
from bots.discord.refusals import FAILURES
from bots.discord.settings import DiscordSettings
from bots.discord.typing import Typing
from bots.discord.words import saying
from bots.endings import end
from bots.platform import Publish
from shared.bus import TooLarge, Unavailable
from shared.log import logger
from shared.messages import AnyEvent, Ask, Attachment, Deleted, Edited, Quote

HANDLED_KEPT: Final = 20_000
"""Messages that were taken, so that one delivered again costs nothing."""

FETCHED_KEPT: Final = 1000
EDIT_ASKS_WITHIN_S: Final = 3600.0
"""Who forgot the mention adds it soon; later an edit is only a correction."""

RETRY_FIRST_S: Final = 0.2
RETRY_LAST_S: Final = 5.0
ROLES_WITHIN_S: Final = 10.0


class Listening:
    """Takes messages, edits and deletions; `listening` is set once the servers are known."""

    def __init__(
        self, settings: DiscordSettings, store: Put, memory: Memory, poster: Poster, typing: Typing
    ) -> None:
        self.listening = asyncio.Event()
        self.client: Client | None = None
        self._settings = settings
        self._store = store
        self._memory = memory
        self._poster = poster
        self._typing = typing
        self._publish_once: Publish | None = None
        self._handled: OrderedDict[int, None] = OrderedDict()
        self._fetched: OrderedDict[int, object] = OrderedDict()
        self._lanes: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._early: set[int] = set()
        self._gap = 0
        self._backfill: asyncio.Task[None] | None = None
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def start(self, publish: Publish) -> None:
        """From now on events go there."""
        self._publish_once = publish

    async def settled(self) -> None:
        """Returns when nothing is in hand any more."""
        await self._idle.wait()

    async def close(self) -> None:
        """Stops reading back."""
        if self._backfill is not None:
            await end(self._backfill)

    @property
    def me(self) -> int:
        """The bot's own id."""
        assert self.client is not None  # noqa: S101  (events come from a client)
        assert self.client.user is not None  # noqa: S101
        return self.client.user.id

    # --- gaps ---------------------------------------------------------------------------------

    async def on_gap(self) -> None:
        """A new session: until all before it was read, the mark does not move."""
        self._memory.save()
        self._memory.frozen = True
        self._gap = time_snowflake(discord.utils.utcnow())

    async def on_ready(self, client: Client) -> None:
        """The servers are known: reads what was missed, beside what comes in."""
        if self._backfill is not None:
            await end(self._backfill)
        early, self._early = self._early, set()
        self._backfill = asyncio.create_task(self._read_back(client, early, self._gap))
        self.listening.set()

    async def _read_back(self, client: Client, early: set[int], gap: int) -> None:
        try:
            await read_missed(client, self._memory, early, self.take)
        except Exception:  # noqa: BLE001  (the mark stays where it was: the next start reads again)
            logger().exception("not read back")
            return
        self._memory.done(gap)
        self._memory.frozen = False
        self._memory.save()

    # --- messages -----------------------------------------------------------------------------

    async def on_message(self, message: discord.Message) -> None:
        """A message came in."""
        if self.client is None or not self.client.settled:
            # Its server is not known yet, and with it who can hear what: read it afterwards.
            self._early.add(message.channel.id)
            return
        await self.take(message)

    async def take(self, message: discord.Message) -> None:
        """Handles a message once, however often and by whichever way it comes."""
        if message.id in self._handled:
            return
        self._handled[message.id] = None
        while len(self._handled) > HANDLED_KEPT:
            self._handled.popitem(last=False)
        self._memory.begin(message.id)
        with self._in_hand():
            try:
                await self._take(message)
            except FAILURES as error:
                logger().error("message not taken", id=message.id, error=type(error).__name__)
            except Exception:  # noqa: BLE001  (one strange message must not hold up the mark)
                logger().exception("message not taken", id=message.id)
        self._memory.done(message.id)

    async def _take(self, message: discord.Message) -> None:
        if not events.from_person(message, self.me):
            return
        spot = await self.spot_of(message.channel, message.guild)
        if not events.speaks_to_bot(message, spot, self.me):
            return
        address = events.address_of(spot, message.id, "reply" if spot.guild else "place")
        user = events.user_of(message.author.id)
        async with self.lane(user):
            why = await self.refusal(message.author, spot)
            if why is not None:
                await self._poster.say(address, saying(why), f"{message.id}-refused")
                return
            text = events.text_of(message, self.me)
            if not text:
                # Without the intent there is nothing to read either: then nobody is told.
                if self._is_named(message, spot):
                    await self._poster.say(address, saying("help"), f"{message.id}-help")
                return
            ask = await self.ask(
                message.id,
                f"discord-{message.id}",
                message.author.id,
                spot,
                text,
                quotes=events.quotes_of(message, self.me),
                files=[message],
            )
            try:
                new = await self.publish(ask)
            except TooLarge:
                await self._poster.say(address, saying("too long"), f"{message.id}-long")
                return
        self._memory.follow(spot.channel, message.id)
        self._memory.asked(message.id, user, ask.place)
        if new is not False:
            self._typing.start(ask.id, spot.channel)

    def _is_named(self, message: discord.Message, spot: events.Spot) -> bool:
        return spot.guild is None or any(user.id == self.me for user in message.mentions)

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

    # --- edits and deletions ------------------------------------------------------------------

    async def on_edit(self, message: discord.Message) -> None:
        """A question changed, or a message became one."""
        if self.client is None or not self.client.settled:
            return
        if not events.from_person(message, self.me) or message.edited_at is None:
            return
        asker = self._memory.asker(message.id)
        if asker is None:
            age_s = (datetime.now(UTC) - message.created_at).total_seconds()
            if age_s < EDIT_ASKS_WITHIN_S:
                with self._in_hand():
                    await self._take(message)
            return
        user, place = asker
        text = events.text_of(message, self.me)
        spot = await self.spot_of(message.channel, message.guild)
        if not text or await self.refusal(message.author, spot) is not None:
            return
        event = Edited(
            id=f"discord-{message.id}-e{round(message.edited_at.timestamp() * 1000)}",
            user=user,
            place=place,
            address=events.address_of(spot, message.id, self._settings.answer_in, text),
            said_at=message.edited_at,
            prompt_id=f"discord-{message.id}",
            text=text,
            ask_again=self._settings.answer_edits,
        )
        with self._in_hand(), contextlib.suppress(TooLarge):
            async with self.lane(user):
                await self.publish(event)

    async def on_delete(self, message_ids: set[int]) -> None:
        """Questions were withdrawn; of other messages nothing is known."""
        for message_id in message_ids:
            if (asker := self._memory.asker(message_id)) is None:
                continue
            user, place = asker
            event = Deleted(
                id=f"discord-{message_id}-d",
                user=user,
                place=place,
                said_at=datetime.now(UTC),
                prompt_id=f"discord-{message_id}",
            )
            with self._in_hand():
                async with self.lane(user):
                    await self.publish(event)

    # --- what commands and buttons need too ------------------------------------------------------

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

    @contextlib.contextmanager
    def _in_hand(self) -> Iterator[None]:
        self._busy += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle.set()


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
