"""Reads the messages that were missed: after a start, and after a session that was lost.

Bounded in time and number. Publishing a message again is harmless within a day. One message that
cannot be read must never cost another one.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import discord

from bots.discord.backfill_plan import channels_to_read, newest_known, start_of
from bots.discord.context import Context
from bots.discord.errors import FAILURES, post_error
from bots.discord.events import Received
from bots.discord.held_messages import HeldMessages
from bots.discord.messages import Messages
from bots.discord.payloads import Json, author_of, id_of, referenced_id
from bots.platform import Later
from shared.log import logger
from shared.tasks import end

MESSAGES_A_CHANNEL: Final = 300
PAGE: Final = 100
AT_ONCE: Final = 4
TRIES: Final = 5
RETRY_S: Final = 1.0

READ_AGAIN_S: Final = (10.0, 60.0, 300.0)
"""Waits before the channels that could not be read are tried again; the last one repeats."""

_PERMANENT: Final = (
    discord.NotFound,
    discord.Forbidden,
    discord.InvalidData,  # a kind of channel that the library does not know
    RecursionError,  # JSON that is nested deeper than Python reads
)
"""Another try would not change these."""


class Backfill:
    """Passes messages on, but only after those that were missed before them in their channel."""

    def __init__(self, context: Context, messages: Messages) -> None:
        self.listening = asyncio.Event()
        """Set once the servers are known."""

        self._context = context
        self._messages = messages
        self._held = HeldMessages(messages.take)
        self._early: dict[int, int] = {}
        self._reading: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Stop reading; the next start reads again from the watermark."""
        await self._held.close()
        if self._reading is not None:
            await end(self._reading)

    # --- events -------------------------------------------------------------------------------

    async def on_gap(self) -> None:
        """A new session begins: the watermark does not move until the gap has been read."""
        self._context.guilds_known = False
        self._context.store.save()
        self._context.store.frozen = True

    async def on_ready(self, client: discord.Client) -> None:
        """The servers are known: read what was missed, while new messages come in."""
        if self._reading is not None:
            await end(self._reading)
        early, context = dict(self._early), self._context
        context.store.distrust_watermark_after(context.clock.newest())
        starts = channels_to_read(client, context.store, context.clock, early)
        self._held.hold(starts)
        self._reading = asyncio.create_task(self._read_all(client, starts, early))
        self.listening.set()
        context.guilds_known = True

    async def on_message(self, received: Received) -> None:
        """A message came in."""
        message = received.message
        self._context.clock.saw_id(message.id)
        if not self._context.guilds_known:
            # Its server is not known yet, and so neither is its audience: backfill reads it later.
            first = self._early.get(message.channel.id, message.id)
            self._early[message.channel.id] = min(first, message.id)
            return
        if not self._held.holds(received):
            await self._messages.take(received)

    # --- reading ------------------------------------------------------------------------------

    async def _read_all(
        self, client: discord.Client, starts: Mapping[int, int], early: Mapping[int, int]
    ) -> None:
        store, clock = self._context.store, self._context.clock
        newest = newest_known(client, clock, early)
        after = start_of(store, clock)
        try:
            unread = await self._read_channels(client, starts)
            waits_s = iter(READ_AGAIN_S)
            wait_s = 0.0
            while unread:
                wait_s = next(waits_s, wait_s)
                logger().error("channels not read back yet", channels=len(unread), wait_s=wait_s)
                await asyncio.sleep(wait_s)
                starts = {channel: min(after or newest, early.get(channel, newest) - 1)
                          for channel in unread}  # fmt: skip
                unread = await self._read_channels(client, starts)
        except Exception:  # noqa: BLE001  (the watermark stays: the next start reads again)
            logger().exception("not read back")
            return
        for channel in early:
            self._early.pop(channel, None)
        store.done(newest)
        store.frozen = False
        store.save()

    async def _read_channels(self, client: discord.Client, starts: Mapping[int, int]) -> list[int]:
        """Read each channel after its start; returns those that Discord did not deliver."""
        gate = asyncio.Semaphore(AT_ONCE)
        started = time.monotonic()

        async def read(channel: int, after: int) -> int | None:
            async with gate:
                count = await self._read(client, channel, after)
                await self._held.release(channel)
                return count

        counts = await asyncio.gather(*(read(*start) for start in starts.items()))
        logger().info(
            "read back",
            channels=len(starts),
            messages=sum(count or 0 for count in counts),
            took_ms=round((time.monotonic() - started) * 1000),
        )
        return [channel for channel, count in zip(starts, counts, strict=True) if count is None]

    async def _read(self, client: discord.Client, channel: int, after: int) -> int | None:
        """Read one channel; returns how many messages it had, None if Discord did not deliver."""
        for attempt in range(TRIES):
            try:
                return await self._read_once(client, channel, after)
            except Exception as error:  # noqa: BLE001  (the other channels are read in any case)
                permanent = not isinstance(error, FAILURES) or isinstance(error, _PERMANENT)
                if isinstance(error, discord.HTTPException):
                    permanent = permanent and not isinstance(post_error(error), Later)
                if isinstance(error, discord.NotFound) and permanent:
                    self._context.store.forget_channel(channel)
                kind = type(error).__name__
                if permanent:
                    logger().warning("channel not readable", channel=channel, error=kind)
                    return 0
                logger().warning("not read back yet", channel=channel, error=kind)
                await asyncio.sleep(RETRY_S * (attempt + 1))
        return None

    async def _read_once(self, client: discord.Client, channel: int, after: int) -> int:
        where: Any = client.get_channel(channel) or await client.fetch_channel(channel)
        if not isinstance(where, discord.abc.Messageable):
            return 0
        count = 0
        while count < MESSAGES_A_CHANNEL:
            read: Any = await client.http.logs_from(channel, PAGE, after=after)
            page: list[Json] = sorted(read, key=id_of)[: MESSAGES_A_CHANNEL - count]
            noticed = _replied_to(page, client.user)
            for raw in page:
                await self._take(client, where, raw, noticed)
                count += 1
            if len(page) < PAGE or id_of(page[-1]) <= after:
                break
            after = id_of(page[-1])
        return count

    async def _take(
        self, client: discord.Client, channel: Any, raw: Json, noticed: set[int]
    ) -> None:
        state: Any = client._connection  # noqa: SLF001  (the library only reads whole pages)
        data: Any = raw
        try:
            message = discord.Message(state=state, channel=channel, data=data)
        except Exception as error:  # noqa: BLE001  (one bad message must not cost the others)
            logger().error("message not readable", id=id_of(raw), error=type(error).__name__)
            guild = getattr(channel, "guild", None)
            await self._messages.take_unreadable({**raw, "guild_id": guild.id if guild else None})
        else:
            await self._messages.take(Received(message, raw), noticed=message.id in noticed)


def _replied_to(page: Iterable[Json], me: discord.ClientUser | None) -> set[int]:
    """The messages that this bot has already replied to."""
    return {referenced_id(raw) for raw in page if me is not None and author_of(raw) == me.id}
