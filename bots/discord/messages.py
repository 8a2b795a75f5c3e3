"""Takes what people write on Discord: each message once, and none is left out.

A message is in progress until its event is stored, and the watermark in `Store` stays below it for
that time. It must never answer a bot, nor take a message that was not meant for this one.
"""

import asyncio
from typing import Final

import discord

from bots.discord import events
from bots.discord.access import Asker, refusal
from bots.discord.audience import guild_id_of, user_of
from bots.discord.context import Context, Question
from bots.discord.errors import FAILURES
from bots.discord.events import Received
from bots.discord.forwards import Forwards
from bots.discord.in_progress import InProgress
from bots.discord.payloads import Json, addressed_to_bot, id_of, referenced_id
from bots.discord.posting import Poster
from bots.discord.quotes import quotes_of
from bots.discord.thread_reader import ThreadReader
from bots.discord.wording import not_stored, notice_text
from bots.discord.working import TypingIndicator
from shared.bus import OverQuota, TooLarge
from shared.log import logger
from shared.recent import RecentSet

TAKE_AGAIN_S: Final = (1.0, 5.0, 30.0, 120.0)
"""Waits between tries to find out from Discord where a message was written, or by whom. Most
outages are shorter. The author's later messages wait as well, so that they are not answered
first."""

HANDLED_KEPT: Final = 2048
"""Recent messages, so that a second delivery costs nothing; later ones are caught by the stream."""


class Messages:
    """Publishes each message to the bot as a question."""

    def __init__(
        self, context: Context, threads: ThreadReader, poster: Poster, typing: TypingIndicator
    ) -> None:
        self.in_progress = InProgress()
        self.deleted: RecentSet[int] = RecentSet(HANDLED_KEPT)
        """Messages that were deleted but may still be in the history that is being read."""

        self._context = context
        self._threads = threads
        self._poster = poster
        self._typing = typing
        self._forwards = Forwards()
        self._handled: RecentSet[int] = RecentSet(HANDLED_KEPT)

    async def take(self, received: Received, *, noticed: bool = False) -> None:
        """Handle a message once, however often and by whichever way it arrives.

        `noticed`: the bot has already replied to it, so it posts no further notice.
        """
        message = received.message
        if message.id in self._handled or message.id in self.deleted:
            return
        self._handled.add(message.id)
        store = self._context.store
        store.begin(message.id)
        try:
            await self._take_in_turn(received, noticed=noticed)
        except Exception:  # noqa: BLE001  (a strange message must not hold up the watermark)
            logger().exception("message not taken", id=message.id)
        store.done(message.id, at_most=self._context.clock.newest())

    async def _take_in_turn(self, received: Received, *, noticed: bool) -> None:
        """Take a message after everything that its author did before it."""
        message = received.message
        if not events.is_from_person(received, self._context.me):
            return
        user = user_of(message.author.id)
        # Enter the queue before awaiting anything, so that events are stored in the order received.
        with self.in_progress.handling(message.id, user):
            async with self._context.queues.of(user):
                await self.take_now(received, noticed=noticed)

    async def take_now(self, received: Received, *, noticed: bool = False) -> None:
        """Take a message whose author's queue is held, retrying while Discord does not answer."""
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
                if message.guild is None or self._is_mentioned(message):
                    await self._notify(message.id, message.channel.id, "not taken")
            except Exception as error:  # noqa: BLE001  (any oddity in the message)
                logger().error("message not understood", id=message.id, error=type(error).__name__)
                if not noticed:
                    await self.notify_unreadable(message)
            return

    async def _take(self, received: Received, *, noticed: bool) -> None:
        message, context = received.message, self._context
        location = await context.location_of(message.channel, message.guild)
        if not events.is_for_bot(message, location, context.me):
            self._forwards.note(received)
            return
        why = await context.refusal(message.author, location)
        text = "" if why else events.text_of(received, context.me)
        if not text:
            # Without the message content intent every text is empty: stay silent unless addressed.
            if not noticed and (why or location.direct or self._is_mentioned(message)):
                await self._notify(message.id, location.channel, why or "help")
            return
        referenced = events.referenced_message(message)
        raw = await self._threads.with_referenced(received.raw, location)
        quotes = quotes_of(raw, received.mention_names, context.me)
        files = [message, referenced] if referenced else [message]
        forward = self._forwards.commented_by(received)
        if forward is not None and not location.in_thread:  # a thread is quoted as a whole
            quotes += quotes_of(forward.raw, forward.mention_names, context.me)
            files.append(forward.message)
        thread = await self._threads.quotes_of_thread(
            location,
            message.id,
            message.author.id,
            received.mention_names,
            leave_out=referenced_id(raw),
        )
        question = Question(
            message.id,
            f"discord-{message.id}",
            message.author,
            location,
            text,
            quotes=(*thread, *quotes),
            files=tuple(files),
        )
        prepared = await context.prepare(question, context.settings.answer_in)
        ask = prepared.ask
        await context.follow(location, message.id)
        try:
            new = await context.publish(ask)
        except (TooLarge, OverQuota) as error:
            if not noticed:
                await self._notify(message.id, location.channel, not_stored(error))
            return
        await context.remember_question(message.id, ask)
        if new:
            self._typing.start(ask.id, location.channel)
            if prepared.files_left_out:
                await self._notify(message.id, location.channel, "no room")

    async def take_unreadable(self, raw: Json) -> None:
        """If a message that the library cannot read is for the bot, ask its author to resend it."""
        found = addressed_to_bot(raw, self._context.me)
        number = id_of(raw)
        if found is None or not number or number in self._handled:
            return
        self._handled.add(number)
        asker = Asker(found.author, found.guild, (found.channel,))
        if refusal(self._context.settings, asker) is None:
            await self._notify(number, found.channel, "unreadable")

    async def notify_unreadable(self, message: discord.Message) -> None:
        """If this message is for the bot, ask its author to send it again as plain text."""
        guild = guild_id_of(message.channel, message.guild)
        if guild is not None and not self._is_mentioned(message):
            return
        channels = (message.channel.id, getattr(message.channel, "parent_id", None) or 0)
        if refusal(self._context.settings, Asker(message.author.id, guild, channels)) is None:
            await self._notify(message.id, message.channel.id, "unreadable")

    def _is_mentioned(self, message: discord.Message) -> bool:
        return any(user.id == self._context.me for user in message.mentions)

    async def _notify(self, message: int, channel: int, key: str) -> None:
        """Reply to a message with one of the bot's notices."""
        address = {"channel": str(channel), "message": str(message)}
        await self._poster.post_notice(address, notice_text(key), f"{message}-{key}")
