"""Answers adapters that ask for a person's own data: the file of /export, turns, or their usage.

Reads only. Who may ask for whom is decided by the permissions of the NATS server: an adapter can
ask for people of its own platform.
"""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from nats.aio.msg import Msg
from pydantic import ValidationError

from dataflow.recorder.figures import own_usage_of
from dataflow.recorder.requests import Requests
from shared import names, user_names
from shared.bus import Bus
from shared.database.history import Entry, entries, markdown, titles
from shared.database.sharing import shared, shares
from shared.figures import Range
from shared.own_history import HISTORY_LIMIT, LIMIT_BYTES, SHARED, TURNS, TURNS_LIMIT
from shared.prices import Price


class HistoryService:
    """Call from the asyncio thread."""

    def __init__(self, bus: Bus, engine: sa.Engine, prices: Mapping[str, Price]) -> None:
        self._engine = engine
        self._prices = prices
        self._requests = Requests(bus, names.HISTORY_SUBJECTS, self._read)

    async def start(self) -> None:
        """Begins to answer; goes on after a lost connection."""
        await self._requests.start()

    async def _read(self, message: Msg) -> bytes | None:
        try:
            user = names.user_of_history(message.subject)
            wanted = Range.model_validate_json(message.data) if message.data[:1] == b"{" else None
        except (user_names.BadName, ValidationError):
            return None  # not one of our adapters
        if wanted is not None:
            return await asyncio.to_thread(self._usage, user, wanted)
        if message.data.startswith(SHARED):
            token_hash = message.data.removeprefix(SHARED).decode(errors="replace")
            return await asyncio.to_thread(shared_of, self._engine, token_hash)
        read = turns_of if message.data == TURNS else history_of
        return await asyncio.to_thread(read, self._engine, user)

    def _usage(self, user: str, wanted: Range) -> bytes:
        with self._engine.connect() as connection:
            now = datetime.now(UTC)
            return own_usage_of(connection, user, wanted, self._prices, now).wire()


def history_of(engine: sa.Engine, user: str) -> bytes:
    """A person's history as Markdown; empty if nothing is recorded. Blocks."""
    with engine.connect() as connection:
        found = entries(connection, user, newest=HISTORY_LIMIT)
    return markdown(user, found, limit_bytes=LIMIT_BYTES).encode() if found else b""


def turns_of(engine: sa.Engine, user: str) -> bytes:
    """A person's newest questions and titles of conversations as JSON. Blocks."""
    with engine.connect() as connection:
        found = entries(connection, user, newest=TURNS_LIMIT)
        others = {"titles": titles(connection, user), "shares": shares(connection, user)}
    return _within_limit(found, others)


def shared_of(engine: sa.Engine, token_hash: str) -> bytes:
    """What a link shows as JSON; null if that is nothing. Blocks."""
    with engine.connect() as connection:
        found = shared(connection, token_hash)
    return b"null" if found is None else _within_limit(found.entries, {"title": found.title})


def _within_limit(found: list[Entry], others: Mapping[str, Any]) -> bytes:
    """The entries as JSON, without the oldest ones if they would be too much."""
    while len(data := json.dumps({"entries": found, **others}).encode()) > LIMIT_BYTES:
        found = found[len(found) // 2 or 1 :]
    return data
