"""Shows that the bot is typing while questions wait for an answer, and always stops.

One call per channel every few seconds, however many questions wait there.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp
import discord

from shared.tasks import end

AGAIN_AFTER_S: Final = 8.0
"""Discord shows the indicator for 10 s."""

GIVE_UP_AFTER_S: Final = 180.0
"""Longer than a model is given for an answer. The indicator must not stay on forever."""


class TypingIndicator:
    """The questions that wait, by channel; `show` sends the indicator once."""

    def __init__(self, show: Callable[[int], Awaitable[None]]) -> None:
        self._show = show
        self._waiting: dict[int, dict[str, float]] = {}
        self._channel_of: dict[str, int] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def start(self, prompt_id: str, channel: int) -> None:
        """A question waits for its answer in this channel."""
        until = asyncio.get_running_loop().time() + GIVE_UP_AFTER_S
        self._waiting.setdefault(channel, {})[prompt_id] = until
        self._channel_of[prompt_id] = channel
        if channel not in self._tasks:
            self._tasks[channel] = asyncio.create_task(self._type(channel))

    def stop(self, prompt_id: str) -> None:
        """The answer is posted, or will not come."""
        channel = self._channel_of.pop(prompt_id, None)
        if channel is None:
            return
        waiting = self._waiting.get(channel, {})
        waiting.pop(prompt_id, None)
        if not waiting and (task := self._tasks.pop(channel, None)) is not None:
            self._waiting.pop(channel, None)
            task.cancel()

    async def close(self) -> None:
        """Stop typing everywhere."""
        self._channel_of.clear()
        self._waiting.clear()
        tasks = tuple(self._tasks.values())
        self._tasks.clear()
        if tasks:
            await end(*tasks)

    async def _type(self, channel: int) -> None:
        now = asyncio.get_running_loop().time
        while True:
            for prompt_id, until in tuple(self._waiting.get(channel, {}).items()):
                if now() >= until:
                    self.stop(prompt_id)
            with contextlib.suppress(discord.DiscordException, aiohttp.ClientError, OSError,
                                     RuntimeError):  # fmt: skip
                await self._show(channel)
            await asyncio.sleep(AGAIN_AFTER_S)
