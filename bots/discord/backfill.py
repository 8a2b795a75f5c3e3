"""Reads what was said while nobody listened: after a start, and after a session that was lost.

Bounded in time and number. Publishing again what was published is harmless within a day, and it
never reads back further than that.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import discord
from discord.utils import time_snowflake

from bots.discord.memory import Memory
from bots.discord.refusals import FAILURES
from shared.log import logger

BACK_S: Final = 20 * 3600.0
"""The stream knows an event's id for 24 hours: a message is never asked twice."""

OVERLAP_MS: Final = 30_000
"""Discord delivers channels side by side: a little before the mark may be missing too."""

MESSAGES_A_CHANNEL: Final = 300
CHANNELS: Final = 1000
"""Each costs a request, of which Discord allows 50 a second."""

AT_ONCE: Final = 4
TRIES: Final = 5
RETRY_S: Final = 2.0

Take = Callable[[discord.Message], Awaitable[None]]


async def read_missed(
    client: discord.Client, memory: Memory, also: Iterable[int], take: Take
) -> None:
    """Hands every message since the mark to `take`."""
    after = _start(memory)
    channels = _worth_reading(client, memory, also, after)
    gate = asyncio.Semaphore(AT_ONCE)
    started = time.monotonic()

    async def read(channel: int) -> int:
        async with gate:
            return await _read(client, memory, channel, after, take)

    counts = await asyncio.gather(*(read(channel) for channel in channels[:CHANNELS]))
    if len(channels) > CHANNELS:
        logger().warning("too many channels to read back", left_out=len(channels) - CHANNELS)
    logger().info(
        "read back",
        channels=min(len(channels), CHANNELS),
        messages=sum(counts),
        took_ms=round((time.monotonic() - started) * 1000),
    )


def _start(memory: Memory) -> int:
    earliest = discord.utils.utcnow().timestamp() - BACK_S
    floor = time_snowflake(discord.utils.snowflake_time(0))  # the first there can be
    bound = max(floor, (int(earliest * 1000) - discord.utils.DISCORD_EPOCH) << 22)
    if not memory.mark:
        # The first start: nothing was missed but what came while connecting.
        return discord.utils.time_snowflake(discord.utils.utcnow()) - (OVERLAP_MS << 22)
    return max(bound, memory.mark - (OVERLAP_MS << 22))


def _worth_reading(
    client: discord.Client, memory: Memory, also: Iterable[int], after: int
) -> list[int]:
    """Channels in the order of what would be lost with them.

    Of those in servers Discord told the last message. Of direct ones and of archived threads it
    did not: each of those that is followed is looked into.
    """
    last = _last_messages(client)
    news = [c for c, message in sorted(last.items(), key=_newest_first) if message > after]
    followed = memory.followed()
    first = [c for c in followed if last.get(c, 0) > after]
    unknown = [c for c in followed if c not in last]
    return list(dict.fromkeys([*also, *first, *unknown, *(news if memory.mark else [])]))


def _newest_first(channel: tuple[int, int]) -> int:
    return -channel[1]


def _last_messages(client: discord.Client) -> dict[int, int]:
    """The last message of each channel and active thread of the servers; 0: none."""
    found: dict[int, int] = {}
    for guild in client.guilds:
        plain: list[discord.TextChannel | discord.VoiceChannel | discord.Thread] = [
            *guild.text_channels,
            *guild.voice_channels,
            *guild.threads,
        ]
        found |= {channel.id: channel.last_message_id or 0 for channel in plain}
    return found


async def _read(
    client: discord.Client, memory: Memory, channel: int, after: int, take: Take
) -> int:
    for attempt in range(TRIES):
        count = 0
        try:
            where = client.get_channel(channel) or await client.fetch_channel(channel)
            if not isinstance(where, discord.abc.Messageable):
                return 0
            history = where.history(
                limit=MESSAGES_A_CHANNEL, after=discord.Object(after), oldest_first=True
            )
            async for message in history:
                await take(message)
                count += 1
        except discord.NotFound:
            memory.forget_channel(channel)
            return 0
        except discord.Forbidden:
            return 0
        except FAILURES as error:
            logger().warning("not read back yet", channel=channel, error=type(error).__name__)
            await asyncio.sleep(RETRY_S * (attempt + 1))
        else:
            return count
    logger().error("not read back", channel=channel)
    return 0
