"""Reads on Discord what a question refers to: its thread, and the message that it answers.

It must never read a place that the asker cannot read, nor hold up a question for long.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from bots.discord.audience import Spot
from bots.discord.client import Client
from bots.discord.events import user_of
from bots.discord.payloads import Json, id_of, referred_by, referred_channel
from bots.discord.quotes import THREAD_MESSAGES, Reader, thread_quotes, title_quote
from bots.discord.readable_markup import Naming
from bots.discord.store import Memory
from shared.log import logger
from shared.messages import Quote

READ_WITHIN_S: Final = 3.0
"""What others said helps the model, but a question does not wait longer for it."""


class Context:
    """`client` gives the one that is connected; `memory` knows which messages were questions."""

    def __init__(self, client: Callable[[], Client | None], memory: Memory) -> None:
        self._client = client
        self._memory = memory

    async def of_thread(
        self, spot: Spot, source: int, asker: int, naming: Naming, *, leave_out: int
    ) -> tuple[Quote, ...]:
        """What others said in a thread before the question `source`, and what the bot answered."""
        title = title_quote(spot.title, spot.tags)
        client = self._client()
        if not spot.in_thread or not spot.shared_past or client is None or client.user is None:
            return title
        reader = Reader(asker, client.user.id, self._was_asked, leave_out)
        try:
            async with asyncio.timeout(READ_WITHIN_S):
                history: list[Json] = await self._messages(
                    spot.channel, THREAD_MESSAGES, before=source
                )
                start, left_out = history[0] if history else None, False
                if len(history) == THREAD_MESSAGES:
                    start, left_out = await self._start(spot, asker, history)
            latest = [m for m in history if start is None or id_of(m) != id_of(start)]
            return title + thread_quotes(latest, reader, naming, start=start, left_out=left_out)
        except Exception as error:  # noqa: BLE001  (one bad message must not cost the question)
            logger().warning("a thread is not quoted", error=type(error).__name__)
            return title

    async def _messages(self, channel: int, limit: int, **where: int) -> list[Json]:
        client = self._client()
        assert client is not None  # noqa: S101  (the caller looked)
        read: Any = await client.http.logs_from(channel, limit, **where)
        return sorted(read, key=id_of)

    def _was_asked(self, message: int) -> bool:
        return self._memory.asker(message) is not None

    async def _start(self, spot: Spot, asker: int, history: list[Json]) -> tuple[Json | None, bool]:
        """The first message of a long thread, and whether others follow that are not in `history`.

        None if the asker's conversation began with it.
        """
        begun_by = self._memory.asker(spot.channel)  # a thread has the id of its message
        if begun_by is not None and begun_by[0] == user_of(asker):
            return None, True
        first = await self._messages(spot.channel, 2, after=spot.channel - 1)
        if not first:
            return None, True
        return first[0], id_of(first[-1]) < id_of(history[0])

    async def answered(self, raw: Json, spot: Spot) -> Json:
        """The payload of a message, with the message that it answers if Discord left that out.

        Only in the same channel, and where everybody who sees the channel can read its past.
        """
        number, client = referred_by(raw), self._client()
        known = "referenced_message" in raw or "message_snapshots" in raw
        here = referred_channel(raw) in {0, spot.channel} and spot.shared_past
        if not number or known or not here or client is None:
            return raw
        try:
            async with asyncio.timeout(READ_WITHIN_S):
                found: Any = await client.http.get_message(spot.channel, number)
        except Exception as error:  # noqa: BLE001  (the question goes on without it)
            logger().warning("an answered message is not quoted", error=type(error).__name__)
            return raw
        return {**raw, "referenced_message": found}
