"""What people write on Discord, on its way into the stream: each message once, none left behind.

A message is in hand until its event is stored; the mark in `Store` stays below it until then. It
must never answer a bot, nor take a message that was not meant for this one.
"""

import asyncio
from typing import Final

import discord

from bots.discord import events
from bots.discord.access import Asker, refusal
from bots.discord.audience import guild_id_of
from bots.discord.backfill import missed_from, newest_known, read_channels, start_of
from bots.discord.client import Client
from bots.discord.context import Context, Question
from bots.discord.errors import FAILURES
from bots.discord.events import Received
from bots.discord.forwards import Forwards
from bots.discord.held_messages import HeldMessages
from bots.discord.in_progress import InProgress
from bots.discord.payloads import Json, addressed, id_of, referenced_id
from bots.discord.posting import Poster
from bots.discord.quotes import quotes_of
from bots.discord.settings import DiscordSettings
from bots.discord.store import Store
from bots.discord.wording import not_stored, notice_text
from bots.discord.working import TypingIndicator
from shared.bus import OverQuota, TooLarge
from shared.log import logger
from shared.recent import Seen
from shared.tasks import end

TAKE_AGAIN_S: Final = (1.0, 5.0, 30.0, 120.0)
"""Waits while Discord does not say who or where somebody is: its outages are mostly shorter. The
person's later messages wait too, so that they are not answered first."""

READ_AGAIN_S: Final = (10.0, 60.0, 300.0)
"""Waits while Discord does not give some channels' history; the last one again and again."""

HANDLED_KEPT: Final = 2048
"""Messages that were taken, so that one delivered again soon costs nothing; later the stream knows
its id."""


class Messages:
    """Takes messages; `listening` is set once the servers are known."""

    def __init__(
        self,
        settings: DiscordSettings,
        context: Context,
        store: Store,
        poster: Poster,
        typing: TypingIndicator,
    ) -> None:
        self.listening = asyncio.Event()
        self.in_progress = InProgress()
        self.deleted: Seen[int] = Seen(HANDLED_KEPT)
        """Messages that are gone, which the history that is being read may still hold."""
        self._settings = settings
        self._context = context
        self._store = store
        self._poster = poster
        self._typing = typing
        self._forwards = Forwards()
        self._handled: Seen[int] = Seen(HANDLED_KEPT)
        self._held = HeldMessages(self.take)
        self._early: dict[int, int] = {}
        self._backfill: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Stops reading back."""
        await self._held.close()
        if self._backfill is not None:
            await end(self._backfill)

    # --- gaps ---------------------------------------------------------------------------------

    async def on_gap(self) -> None:
        """A new session: until all before it was read, the mark does not move."""
        self._store.save()
        self._store.frozen = True

    async def on_ready(self, client: Client) -> None:
        """The servers are known: reads what was missed, while other messages come in."""
        if self._backfill is not None:
            await end(self._backfill)
        early = dict(self._early)
        self._store.distrust_watermark_after(self._context.clock.newest())
        starts = missed_from(client, self._store, self._context.clock, early)
        self._held.hold(starts)
        self._backfill = asyncio.create_task(self._read_back(client, starts, early))
        self.listening.set()

    async def _read_back(
        self, client: Client, starts: dict[int, int], early: dict[int, int]
    ) -> None:
        newest = newest_known(client, self._context.clock, early)
        after = start_of(self._store, self._context.clock)
        try:
            left = await read_channels(client, self._store, starts, self)
            wait_s = iter(READ_AGAIN_S)
            waits_s = 0.0
            while left:
                waits_s = next(wait_s, waits_s)
                logger().error("channels not read back yet", channels=len(left), wait_s=waits_s)
                await asyncio.sleep(waits_s)
                starts = {channel: min(after or newest, early.get(channel, newest) - 1)
                          for channel in left}  # fmt: skip
                left = await read_channels(client, self._store, starts, self)
        except Exception:  # noqa: BLE001  (the mark stays where it was: the next start reads again)
            logger().exception("not read back")
            return
        for channel in early:
            self._early.pop(channel, None)
        self._store.done(newest)
        self._store.frozen = False
        self._store.save()

    async def channel_read(self, channel: int) -> None:
        """What was missed in a channel is taken; then what came meanwhile."""
        await self._held.release(channel)

    # --- messages -----------------------------------------------------------------------------

    async def on_message(self, received: Received) -> None:
        """A message came in."""
        message = received.message
        self._context.clock.saw_id(message.id)
        if self._context.client is None or not self._context.client.guilds_known:
            # Its server is not known yet, and with it who can hear what: read it afterwards.
            first = self._early.get(message.channel.id, message.id)
            self._early[message.channel.id] = min(first, message.id)
            return
        if not self._held.holds(received):
            await self.take(received)

    async def take(self, received: Received, *, noticed: bool = False) -> None:
        """Handles a message once, however often and by whichever way it comes.

        `noticed`: the bot has replied to it before, so it says nothing more of its own.
        """
        message = received.message
        if message.id in self._handled or message.id in self.deleted:
            return
        self._handled.add(message.id)
        self._store.begin(message.id)
        try:
            await self.take_in_turn(received, noticed=noticed)
        except Exception:  # noqa: BLE001  (a strange message must not hold up the mark)
            logger().exception("message not taken", id=message.id)
        self._store.done(message.id, at_most=self._context.clock.newest())

    async def take_in_turn(self, received: Received, *, noticed: bool = False) -> None:
        """Takes a message after all that its author did before it."""
        message = received.message
        if not events.is_from_person(received, self._context.me):
            return
        user = events.user_of(message.author.id)
        # Entered before anything is waited for: who comes first is stored first.
        with self.in_progress.handling(message.id, user):
            async with self._context.queues.of(user):
                await self.take_now(received, noticed=noticed)

    async def take_now(self, received: Received, *, noticed: bool = False) -> None:
        """Takes a message in its author's queue; asks Discord again where it does not answer."""
        message = received.message
        for wait_s in (*TAKE_AGAIN_S, None):
            try:
                await self._take(received, noticed=noticed)
            except FAILURES as error:
                kind = type(error).__name__
                if wait_s is not None:
                    await asyncio.sleep(wait_s)
                    continue
                logger().error("message not taken", id=message.id, error=kind)
                if message.guild is None or self._is_named(message):
                    await self._notify(message.id, message.channel.id, "not taken")
            except Exception as error:  # noqa: BLE001  (whatever is strange about it)
                logger().error("message not understood", id=message.id, error=type(error).__name__)
                if not noticed:
                    await self.say_unreadable(message)
            return

    async def _take(self, received: Received, *, noticed: bool) -> None:
        message, me = received.message, self._context.me
        location = await self._context.location_of(message.channel, message.guild)
        if not events.is_for_bot(message, location, me):
            self._forwards.note(received)
            return
        why = await self._context.refusal(message.author, location)
        text = "" if why else events.text_of(received, me)
        if not text:
            # Without the intent there is nothing to read either: then nobody is told.
            if not noticed and (why or location.direct or self._is_named(message)):
                await self._notify(message.id, location.channel, why or "help")
            return
        answered = events.referenced_message(message)
        raw = await self._context.threads.with_referenced(received.raw, location)
        quotes = quotes_of(raw, received.mention_names, me)
        files = [message, answered] if answered else [message]
        forward = self._forwards.commented_by(received)
        if forward is not None and not location.in_thread:  # there, all that was said is quoted
            quotes += quotes_of(forward.raw, forward.mention_names, me)
            files.append(forward.message)
        ask, full = await self._context.ask(
            Question(
                message.id,
                f"discord-{message.id}",
                message.author.id,
                location,
                text,
                quotes=quotes,
                files=tuple(files),
                quoted=referenced_id(raw),
                mention_names=received.mention_names,
            ),
            self._settings.answer_in,
        )
        try:
            new = await self._context.publish(ask)
        except (TooLarge, OverQuota) as error:
            if not noticed:
                await self._notify(message.id, location.channel, not_stored(error))
            return
        self._store.follow(location.channel, message.id, direct=location.direct)
        self._context.remember_question(message.id, ask.user, ask.place)
        if new is not False:
            self._typing.start(ask.id, location.channel)
            if full:
                await self._notify(message.id, location.channel, "no room")

    async def take_unreadable(self, raw: Json) -> None:
        """Tells a person that a message to the bot cannot be read."""
        found = addressed(raw, self._context.me)
        number = id_of(raw)
        if found is None or not number or number in self._handled:
            return
        self._handled.add(number)
        author, guild, channel = found
        if refusal(self._settings, Asker(author, guild or None, (channel,))) is None:
            await self._notify(number, channel, "unreadable")

    async def say_unreadable(self, message: discord.Message) -> None:
        """Tells a person that a message to the bot is not understood."""
        guild = guild_id_of(message.channel, message.guild)
        if guild is not None and not self._is_named(message):
            return
        places = (message.channel.id, getattr(message.channel, "parent_id", None) or 0)
        if refusal(self._settings, Asker(message.author.id, guild, places)) is None:
            await self._notify(message.id, message.channel.id, "unreadable")

    def _is_named(self, message: discord.Message) -> bool:
        return any(user.id == self._context.me for user in message.mentions)

    async def _notify(self, message: int, channel: int, key: str) -> None:
        """Replies to a message with a sentence of the bot's own."""
        address = {"channel": str(channel), "message": str(message)}
        await self._poster.post_notice(address, notice_text(key), f"{message}-{key}")
