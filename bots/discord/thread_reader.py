"""Reads from Discord what a question refers to: its thread, and the message that it replies to.

It must never read a channel that the asker cannot read, nor delay a question for long.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import discord

from bots.discord.audience import Location, user_of
from bots.discord.markup import MentionNames
from bots.discord.payloads import Json, id_of, referenced_channel_id, referenced_id
from bots.discord.quotes import THREAD_MESSAGES, ThreadFilter, thread_quotes, title_quote
from bots.discord.store import Store
from shared.log import logger
from shared.messages import Quote

READ_WITHIN_S: Final = 3.0
"""Other people's messages help the model, but a question does not wait longer for them."""


class ThreadReader:
    """`client` returns the connected client; `store` knows which messages were questions."""

    def __init__(self, client: Callable[[], discord.Client | None], store: Store) -> None:
        self._client = client
        self._store = store

    async def quotes_of_thread(
        self,
        location: Location,
        source: int,
        asker: int,
        mention_names: MentionNames,
        *,
        leave_out: int,
    ) -> tuple[Quote, ...]:
        """Other people's messages in a thread before the question `source`, and the bot's answers.

        `leave_out` is the id of a message that is quoted anyway; 0 if there is none.
        """
        title = title_quote(location.title, location.tags)
        client = self._client()
        if (
            not location.in_thread
            or not location.history_is_open
            or client is None
            or client.user is None
        ):
            return title
        thread_filter = ThreadFilter(asker, client.user.id, self._was_asked, leave_out)
        try:
            async with asyncio.timeout(READ_WITHIN_S):
                history: list[Json] = await self._messages(
                    location.channel, THREAD_MESSAGES, before=source
                )
                start, left_out = history[0] if history else None, False
                if len(history) == THREAD_MESSAGES:
                    start, left_out = await self._start(location, asker, history)
            latest = [m for m in history if start is None or id_of(m) != id_of(start)]
            return title + thread_quotes(
                latest, thread_filter, mention_names, start=start, left_out=left_out
            )
        except Exception as error:  # noqa: BLE001  (one bad message must not cost the question)
            logger().warning("a thread is not quoted", error=type(error).__name__)
            return title

    async def _messages(self, channel: int, limit: int, **where: int) -> list[Json]:
        client = self._client()
        assert client is not None  # noqa: S101  (checked by the caller)
        read: Any = await client.http.logs_from(channel, limit, **where)
        return sorted(read, key=id_of)

    def _was_asked(self, message: int) -> bool:
        return self._store.question(message) is not None

    async def _start(
        self, location: Location, asker: int, history: list[Json]
    ) -> tuple[Json | None, bool]:
        """The first message of a long thread, and whether others follow that `history` lacks.

        None if the asker's conversation began with that message.
        """
        first_question = self._store.question(
            location.channel
        )  # a thread has the id of its message
        if first_question is not None and first_question.user == user_of(asker):
            return None, True
        first = await self._messages(location.channel, 2, after=location.channel - 1)
        if not first:
            return None, True
        return first[0], id_of(first[-1]) < id_of(history[0])

    async def with_referenced(self, raw: Json, location: Location) -> Json:
        """Add the message that a reply refers to, if Discord left it out of the payload.

        Only from the same channel, and only if everybody who sees the channel can read its history.
        """
        number, client = referenced_id(raw), self._client()
        known = "referenced_message" in raw or "message_snapshots" in raw
        here = referenced_channel_id(raw) in {0, location.channel} and location.history_is_open
        if not number or known or not here or client is None:
            return raw
        try:
            async with asyncio.timeout(READ_WITHIN_S):
                found: Any = await client.http.get_message(location.channel, number)
        except Exception as error:  # noqa: BLE001  (the question goes on without it)
            logger().warning(
                "a message that was replied to is not quoted", error=type(error).__name__
            )
            return raw
        return {**raw, "referenced_message": found}
