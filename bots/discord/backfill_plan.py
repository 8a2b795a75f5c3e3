"""Decides which channels to read after a gap, and from which message.

Reads the library's caches only: no requests. It must never go back further than the stream
recognizes duplicates.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import discord

from bots.discord.clock import DiscordClock, snowflake_at
from bots.discord.store import Store
from shared.log import logger

BACK_S: Final = 20 * 3600.0
"""The stream recognizes an event's id for 24 hours, so no message is asked twice."""

OVERLAP_MS: Final = 30_000
"""Discord delivers channels in parallel: messages just below the watermark may be missing, too."""

CHANNELS: Final = 1000
"""Each costs a request, and Discord allows 50 requests per second."""


def channels_to_read(
    client: discord.Client, store: Store, clock: DiscordClock, early: Mapping[int, int]
) -> dict[int, int]:
    """The channels to read, each with the message after which to start.

    `early` maps channels to the first message that arrived before the servers were known.
    """
    after = start_of(store, clock)
    channels = _worth_reading(client, store, early, after)
    if len(channels) > CHANNELS:
        logger().warning("too many channels to read back", left_out=len(channels) - CHANNELS)
    return _starts(channels[:CHANNELS], early, after)


def start_of(store: Store, clock: DiscordClock) -> int | None:
    """The message after which to read; None at the very first start, when nothing was missed."""
    bound = snowflake_at(clock.now() - BACK_S)
    if store.watermark:
        return max(bound, store.watermark - (OVERLAP_MS << 22))
    return bound if store.lost else None


def newest_known(client: discord.Client, clock: DiscordClock, early: Mapping[int, int]) -> int:
    """The newest message known when the servers are; at least 1.

    Once the history has been read, everything up to this message is handled.
    """
    return min(clock.newest(), max(1, *early.values(), *_last_messages(client).values()))


def _starts(channels: Iterable[int], early: Mapping[int, int], after: int | None) -> dict[int, int]:
    """Where to start in each channel, so that no early message is left out."""
    found = {}
    for channel in channels:
        known = [start for start in (after, early.get(channel, 0) - 1) if start and start > 0]
        found[channel] = min(known)
    return found


def _worth_reading(
    client: discord.Client, store: Store, early: Iterable[int], after: int | None
) -> list[int]:
    """Channels in order of priority.

    Discord reports the last message of every channel and active thread in the servers, but not of
    direct messages and archived threads, so each of those that is followed is read.
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
    """The last message of each channel and active thread in the servers; 0 if there is none."""
    found: dict[int, int] = {}
    for guild in client.guilds:
        channels: list[Any] = [
            *guild.text_channels,
            *guild.voice_channels,
            *guild.stage_channels,
            *guild.threads,
        ]
        found |= {channel.id: channel.last_message_id or 0 for channel in channels}
    return found
