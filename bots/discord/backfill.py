"""Reads what was said while nobody listened: after a start, and after a session that was lost.

Bounded in time and number. To publish again what was published is harmless within a day, and it
must never read back further than that. One message that cannot be read must never cost another.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

import discord

from bots.discord.clock import DiscordClock, snowflake_at
from bots.discord.errors import FAILURES, post_error
from bots.discord.events import Received
from bots.discord.payloads import Json, author_of, id_of, referenced_id
from bots.discord.store import Store
from bots.platform import Later
from shared.log import logger

BACK_S: Final = 20 * 3600.0
"""The stream knows an event's id for 24 hours: a message is never asked twice."""

OVERLAP_MS: Final = 30_000
"""Discord delivers channels side by side: a little before the mark may be missing too."""

MESSAGES_A_CHANNEL: Final = 300
PAGE: Final = 100
CHANNELS: Final = 1000
"""Each costs a request, of which Discord allows 50 a second."""

AT_ONCE: Final = 4
TRIES: Final = 5
RETRY_S: Final = 1.0

_FOR_GOOD: Final = (
    discord.NotFound,
    discord.Forbidden,
    discord.InvalidData,  # a kind of channel that the library does not know
    RecursionError,  # JSON that is nested deeper than Python reads
)
"""Nothing that another try could change."""


class Takes(Protocol):
    """Who is given what was missed."""

    async def take(self, received: Received, *, noticed: bool = False) -> None:
        """A message; `noticed`: the bot has replied to it already."""

    async def take_unreadable(self, raw: Json) -> None:
        """A message that the library cannot read."""

    async def channel_read(self, channel: int) -> None:
        """All that was missed there was taken, or Discord does not give it now."""


def missed_from(
    client: discord.Client, store: Store, clock: DiscordClock, early: Mapping[int, int]
) -> dict[int, int]:
    """The channels to read, each with the message after which to read it.

    `early` are the first messages by channel that came before the servers were known.
    """
    after = start_of(store, clock)
    channels = _worth_reading(client, store, early, after)
    if len(channels) > CHANNELS:
        logger().warning("too many channels to read back", left_out=len(channels) - CHANNELS)
    return _starts(channels[:CHANNELS], early, after)


async def read_channels(
    client: discord.Client, store: Store, starts: Mapping[int, int], takes: Takes
) -> list[int]:
    """Reads channels, each from after a message on; returns those that Discord did not give now."""
    gate = asyncio.Semaphore(AT_ONCE)
    started = time.monotonic()

    async def read(channel: int, after: int) -> int | None:
        async with gate:
            count = await _read(client, store, channel, after, takes)
            await takes.channel_read(channel)
            return count

    counts = await asyncio.gather(*(read(*start) for start in starts.items()))
    logger().info(
        "read back",
        channels=len(starts),
        messages=sum(count or 0 for count in counts),
        took_ms=round((time.monotonic() - started) * 1000),
    )
    return [channel for channel, count in zip(starts, counts, strict=True) if count is None]


def start_of(store: Store, clock: DiscordClock) -> int | None:
    """The message after which to read; None at the very first start, when nothing was missed."""
    bound = snowflake_at(clock.now() - BACK_S)
    if store.watermark:
        return max(bound, store.watermark - (OVERLAP_MS << 22))
    return bound if store.lost else None


def newest_known(client: discord.Client, clock: DiscordClock, early: Mapping[int, int]) -> int:
    """The newest message that is known of when the servers are; at least 1.

    All up to this one is handled as soon as the history has been read.
    """
    return min(clock.newest(), max(1, *early.values(), *_last_messages(client).values()))


def _starts(channels: Iterable[int], early: Mapping[int, int], after: int | None) -> dict[int, int]:
    """From where to read each channel: nothing that came early is left out."""
    found = {}
    for channel in channels:
        known = [start for start in (after, early.get(channel, 0) - 1) if start and start > 0]
        found[channel] = min(known)
    return found


def _worth_reading(
    client: discord.Client, store: Store, early: Iterable[int], after: int | None
) -> list[int]:
    """Channels in the order of what would be lost with them.

    Discord tells the last message of each channel and active thread in the servers, but not of
    direct messages and archived threads: each of those that is followed is looked into.
    """
    if after is None:
        return list(early)
    last = _last_messages(client)
    news = [c for c, message in sorted(last.items(), key=_newest_first) if message > after]
    followed = store.followed()
    first = [c for c in followed if last.get(c, 0) > after]
    unknown = [c for c in followed if c not in last]
    return list(dict.fromkeys([*early, *first, *unknown, *news]))


def _newest_first(channel: tuple[int, int]) -> int:
    return -channel[1]


def _last_messages(client: discord.Client) -> dict[int, int]:
    """The last message of each channel and active thread of the servers; 0: none."""
    found: dict[int, int] = {}
    for guild in client.guilds:
        talking: list[Any] = [
            *guild.text_channels,
            *guild.voice_channels,
            *guild.stage_channels,
            *guild.threads,
        ]
        found |= {channel.id: channel.last_message_id or 0 for channel in talking}
    return found


async def _read(
    client: discord.Client, store: Store, channel: int, after: int, takes: Takes
) -> int | None:
    """Reads one channel; the number of its messages, None if Discord does not give them now."""
    for attempt in range(TRIES):
        try:
            return await _read_once(client, channel, after, takes)
        except Exception as error:  # noqa: BLE001  (whatever it is, the others are read)
            for_good = not isinstance(error, FAILURES) or isinstance(error, _FOR_GOOD)
            if isinstance(error, discord.HTTPException):
                for_good = for_good and not isinstance(post_error(error), Later)
            if isinstance(error, discord.NotFound) and for_good:
                store.forget_channel(channel)
            if for_good:
                logger().warning(
                    "channel not readable", channel=channel, error=type(error).__name__
                )
                return 0
            logger().warning("not read back yet", channel=channel, error=type(error).__name__)
            await asyncio.sleep(RETRY_S * (attempt + 1))
    return None


async def _read_once(client: discord.Client, channel: int, after: int, takes: Takes) -> int:
    where: Any = client.get_channel(channel) or await client.fetch_channel(channel)
    if not isinstance(where, discord.abc.Messageable):
        return 0
    count = 0
    while count < MESSAGES_A_CHANNEL:
        read: Any = await client.http.logs_from(channel, PAGE, after=after)
        page: list[Json] = sorted(read, key=id_of)[: MESSAGES_A_CHANNEL - count]
        noticed = _replied_to(page, client.user)
        for raw in page:
            await _take_one(client, where, raw, noticed, takes)
            count += 1
        if len(page) < PAGE or id_of(page[-1]) <= after:
            break
        after = id_of(page[-1])
    return count


async def _take_one(
    client: discord.Client, where: Any, raw: Json, noticed: set[int], takes: Takes
) -> None:
    state: Any = client._connection  # noqa: SLF001  (the library reads whole pages only)
    data: Any = raw
    try:
        message = discord.Message(state=state, channel=where, data=data)
    except Exception as error:  # noqa: BLE001  (one bad message must not cost the others)
        logger().error("message not readable", id=id_of(raw), error=type(error).__name__)
        guild = getattr(where, "guild", None)
        await takes.take_unreadable({**raw, "guild_id": guild.id if guild else None})
    else:
        await takes.take(Received(message, raw), noticed=message.id in noticed)


def _replied_to(page: Iterable[Json], me: discord.ClientUser | None) -> set[int]:
    """The messages that this bot replied to: what it had to say to those, it has said."""
    return {referenced_id(raw) for raw in page if me is not None and author_of(raw) == me.id}
