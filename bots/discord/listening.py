"""What people write on Discord, on its way into the stream: each message once, none left behind.

A message is in hand until its event is stored; the mark in `Memory` stays below it for so long. It
must never answer a bot, nor take a message that was not meant for this one.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import discord
from discord.utils import time_snowflake

from bots.discord import events
from bots.discord.asking import Asking
from bots.discord.backfill import read_missed
from bots.discord.client import Client
from bots.discord.memory import Memory
from bots.discord.posting import Poster
from bots.discord.refusals import FAILURES
from bots.discord.settings import DiscordSettings
from bots.discord.typing import Typing
from bots.discord.words import saying
from bots.endings import end
from bots.seen import Seen
from shared.bus import TooLarge
from shared.log import logger
from shared.messages import Deleted, Edited

TAKE_AGAIN_S: Final = (1.0, 5.0, 30.0, 120.0)
"""Waits while Discord does not say who or where somebody is: its outages are mostly shorter."""

HANDLED_KEPT: Final = 2048
"""Messages that were taken, so that one delivered again soon costs nothing; later the stream knows
its id."""

EDIT_ASKS_WITHIN_S: Final = 3600.0
"""Who forgot the mention adds it soon; later an edit is only a correction."""


class Listening:
    """Takes messages, edits and deletions; `listening` is set once the servers are known."""

    def __init__(
        self,
        settings: DiscordSettings,
        asking: Asking,
        memory: Memory,
        poster: Poster,
        typing: Typing,
    ) -> None:
        self.listening = asyncio.Event()
        self._settings = settings
        self._asking = asking
        self._memory = memory
        self._poster = poster
        self._typing = typing
        self._handled: Seen[int] = Seen(HANDLED_KEPT)
        self._early: set[int] = set()
        self._gap = 0
        self._backfill: asyncio.Task[None] | None = None
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def settled(self) -> None:
        """Returns when nothing is in hand any more."""
        await self._idle.wait()

    async def close(self) -> None:
        """Stops reading back."""
        if self._backfill is not None:
            await end(self._backfill)

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
        if self._asking.client is None or not self._asking.client.settled:
            # Its server is not known yet, and with it who can hear what: read it afterwards.
            self._early.add(message.channel.id)
            return
        await self.take(message)

    async def take(self, message: discord.Message) -> None:
        """Handles a message once, however often and by whichever way it comes."""
        if message.id in self._handled:
            return
        self._handled.add(message.id)
        self._memory.begin(message.id)
        with self._in_hand():
            for wait_s in (*TAKE_AGAIN_S, None):
                try:
                    await self._take(message)
                except FAILURES as error:
                    # Discord was asked something and did not answer: it may the next time.
                    kind = type(error).__name__
                    if wait_s is None:
                        logger().error("message not taken", id=message.id, error=kind)
                    else:
                        await asyncio.sleep(wait_s)
                        continue
                except Exception:  # noqa: BLE001  (a strange message must not hold up the mark)
                    logger().exception("message not taken", id=message.id)
                break
        self._memory.done(message.id)

    async def _take(self, message: discord.Message) -> None:
        if not events.from_person(message, self._asking.me):
            return
        spot = await self._asking.spot_of(message.channel, message.guild)
        if not events.speaks_to_bot(message, spot, self._asking.me):
            return
        address = events.address_of(spot, message.id, "reply" if spot.guild else "place")
        user = events.user_of(message.author.id)
        async with self._asking.lane(user):
            why = await self._asking.refusal(message.author, spot)
            if why is not None:
                await self._poster.say(address, saying(why), f"{message.id}-refused")
                return
            text = events.text_of(message, self._asking.me)
            if not text:
                # Without the intent there is nothing to read either: then nobody is told.
                if self._is_named(message, spot):
                    await self._poster.say(address, saying("help"), f"{message.id}-help")
                return
            ask = await self._asking.ask(
                message.id,
                f"discord-{message.id}",
                message.author.id,
                spot,
                text,
                quotes=events.quotes_of(message, self._asking.me),
                files=[message],
            )
            try:
                new = await self._asking.publish(ask)
            except TooLarge:
                await self._poster.say(address, saying("too long"), f"{message.id}-long")
                return
        self._memory.follow(spot.channel, message.id)
        self._memory.asked(message.id, user, ask.place)
        if new is not False:
            self._typing.start(ask.id, spot.channel)

    def _is_named(self, message: discord.Message, spot: events.Spot) -> bool:
        return spot.guild is None or any(user.id == self._asking.me for user in message.mentions)

    # --- edits and deletions ------------------------------------------------------------------

    async def on_edit(self, message: discord.Message) -> None:
        """A question changed, or a message became one."""
        if self._asking.client is None or not self._asking.client.settled:
            return
        if not events.from_person(message, self._asking.me) or message.edited_at is None:
            return
        asker = self._memory.asker(message.id)
        if asker is None:
            age_s = (datetime.now(UTC) - message.created_at).total_seconds()
            if age_s < EDIT_ASKS_WITHIN_S:
                with self._in_hand():
                    await self._take(message)
            return
        user, place = asker
        text = events.text_of(message, self._asking.me)
        spot = await self._asking.spot_of(message.channel, message.guild)
        if not text or await self._asking.refusal(message.author, spot) is not None:
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
            async with self._asking.lane(user):
                await self._asking.publish(event)

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
                async with self._asking.lane(user):
                    await self._asking.publish(event)

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
