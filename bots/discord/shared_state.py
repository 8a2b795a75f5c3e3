"""What the process that runs next must know, perhaps on another machine: it is kept in NATS.

It finds everything else on Discord. Nobody's words are kept here.
"""

import json
from contextlib import suppress
from typing import Final

import nats.js.errors
from pydantic import BaseModel, ValidationError

from bots.discord.store import CHANNELS_KEPT, KnownQuestion, Store
from shared import names
from shared.bus import Bus
from shared.connection import TRANSIENT
from shared.messages import Place
from shared.pulse import now_s

REFRESH_S: Final = 3600.0
"""Values in NATS expire after days; these must not."""

_LEASE: Final = "discord"
_CHANNELS: Final = "channels"


class FollowedChannels:
    """The channels to read after a gap: Discord does not list those of direct messages."""

    def __init__(self, bus: Bus, store: Store) -> None:
        self._bus = bus
        self._store = store
        self._subject = names.lease_subject(_LEASE, _CHANNELS)
        self._shared: list[int] = []
        self._stored_at = 0.0

    async def read(self) -> None:
        """Adds the channels of other processes to the store, and those of the store to theirs."""

        async def once() -> bytes:
            try:
                found = await self._bus.js.get_last_msg(
                    names.LEASES_STREAM, self._subject, direct=True
                )
            except nats.js.errors.NotFoundError:
                return b"[]"
            return found.data or b"[]"

        own = self._store.followed()
        with suppress(ValueError, TypeError):
            self._shared = [int(one) for one in json.loads(await self._bus.until_done(once))]
        for channel in self._shared:
            if channel not in own:
                self._store.follow(channel, 0, direct=True)
        if new := [channel for channel in reversed(own) if channel not in self._shared]:
            self._shared += new
            await self._put()

    async def add(self, channel: int) -> None:
        """Notes a channel. On return, whoever runs next knows it."""
        if channel not in self._shared:
            self._shared.append(channel)
            await self._put()

    async def refresh(self) -> None:
        """Stores the channels again from time to time. Best effort."""
        if self._shared and now_s() - self._stored_at > REFRESH_S:
            with suppress(*TRANSIENT):
                await self._put_once()

    async def _put(self) -> None:
        await self._bus.until_done(self._put_once)

    async def _put_once(self) -> None:
        del self._shared[:-CHANNELS_KEPT]
        await self._bus.js.publish(self._subject, json.dumps(self._shared).encode())
        self._stored_at = now_s()


class _Asked(BaseModel):
    user: str
    place: Place


class SharedQuestions:
    """Who asked which question, so that any process can publish its edits and its deletion.

    Kept among the receipts of the question: it expires with them, and is erased with them.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def put(self, prompt_id: str, user: str, place: Place) -> None:
        """Notes a question. Best effort: the own store has it, too."""
        data = _Asked(user=user, place=place).model_dump_json().encode()
        with suppress(*TRANSIENT):
            await self._bus.js.publish(self._subject(prompt_id), data)

    async def get(self, prompt_id: str) -> KnownQuestion | None:
        """The question, if any process has noted it."""

        async def once() -> bytes:
            try:
                found = await self._bus.js.get_last_msg(
                    names.RECEIPTS_STREAM, self._subject(prompt_id), direct=True
                )
            except nats.js.errors.NotFoundError:
                return b""
            return found.data or b""

        with suppress(ValidationError):
            asked = _Asked.model_validate_json(await self._bus.until_done(once))
            return KnownQuestion(asked.user, asked.place)
        return None

    @staticmethod
    def _subject(prompt_id: str) -> str:
        return f"{names.RECEIPTS_PREFIX}discord.{prompt_id}.asked"
