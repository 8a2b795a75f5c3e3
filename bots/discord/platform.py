"""Discord as a chat platform: wires the client, messages, interactions and posting together.

Holds no rules. It must never run twice on one data folder: both would take every message.
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from discord.http import HTTPClient

from bots.adapter import Misconfigured
from bots.discord.acknowledgement import Acknowledgements
from bots.discord.backfill import Backfill
from bots.discord.client import Client, use_endpoints
from bots.discord.clock import DiscordClock
from bots.discord.commands import Commands
from bots.discord.connection import keep_connected
from bots.discord.context import Context
from bots.discord.declarations import add_commands
from bots.discord.deferred import Placeholders
from bots.discord.edits import Edits
from bots.discord.files import Put
from bots.discord.interaction_queue import InteractionQueue
from bots.discord.interactions import Interactions
from bots.discord.messages import Messages
from bots.discord.own_history import FetchHistory, OwnHistory
from bots.discord.posting import SHAPE, Poster
from bots.discord.settings import DiscordSettings
from bots.discord.shared_state import FollowedChannels, SharedQuestions
from bots.discord.store import Store
from bots.discord.thread_reader import ThreadReader
from bots.discord.working import TypingIndicator
from bots.platform import Later, Part, Publish
from bots.split_text import Length
from shared.budgets import NO_BUDGETS, Budgets
from shared.bus import Bus
from shared.lock import AlreadyRunning, locked
from shared.replies import Partial, Reply
from shared.tasks import end

SAVE_EVERY_S: Final = 1.0
LAST_WORDS_S: Final = 3.0
"""Time limit at shutdown for storing the messages in progress."""

CONNECTING_S: Final = 0.5
"""Wait before a reply is tried again while the first connection is being made."""


class Discord:
    """The adapter; `put` stores a picture, `publish` an event; its data folder is below `home`."""

    name: str = "discord"
    text_limit_chars: int = SHAPE.text_limit_chars
    parts_limit: int = SHAPE.parts_limit
    text_length: Length = staticmethod(SHAPE.text_length)
    where: str = "discord"

    def __init__(
        self,
        settings: DiscordSettings,
        home: Path,
        put: Put,
        publish: Publish,
        *,
        fetch_history: FetchHistory,
        budgets: Budgets = NO_BUDGETS,
    ) -> None:
        self._settings = settings
        self._client: Client | None = None
        self._connection: asyncio.Task[None] | None = None
        self._clock = DiscordClock()
        self._placeholders = Placeholders(self._clock)
        self._typing = TypingIndicator(self._show_typing)
        self._poster = Poster(
            self._http,
            self._me,
            self._placeholders,
            self._typing,
            self._clock,
            new_message_after_s=settings.new_message_after_s,
        )
        folder = home / "discord"
        try:
            self._lock = locked(folder / "lock", "the Discord adapter")
        except AlreadyRunning as error:
            raise Misconfigured(str(error)) from error
        store = self._store = Store(folder / "memory.sqlite")
        context = self._context = Context(
            settings, put, publish, store, self._clock, budget_roles=budgets.roles_on("discord")
        )
        threads = ThreadReader(lambda: context.client, store)
        self.place = store.place
        self._followed: FollowedChannels | None = None
        self._messages = Messages(context, threads, self._poster, self._typing)
        self._backfill = Backfill(context, self._messages)
        self._edits = Edits(context, self._messages, self._poster)
        queue = InteractionQueue(context, Acknowledgements(self._placeholders, self._http))
        self._commands = Commands(
            context, queue, threads, self._placeholders, OwnHistory(fetch_history)
        )
        self._interactions = Interactions(context, queue, self._typing)
        self.listening = self._backfill.listening

    # --- the lease ----------------------------------------------------------------------------

    def position(self) -> int:
        """The id up to which all messages are handled; 0 if it is unknown."""
        return self._store.watermark

    async def reaches(self) -> bool:
        """Whether Discord answers this process now."""
        return self._client is not None and await self._client.reaches()

    async def start_at(self, bus: Bus, position: int) -> None:
        """Continue where another process, perhaps on another machine, has stopped."""
        self._store.continue_at(position)
        self._followed = FollowedChannels(bus, self._store)
        await self._followed.read()
        self._context.share(self._followed, SharedQuestions(bus))

    # --- listening ----------------------------------------------------------------------------

    async def listen(self) -> None:
        """Connect, and publish what people do until the adapter is closed.

        Raises:
            Misconfigured: the token or the intents are missing or refused.
        """
        if self._settings.token is None:
            raise Misconfigured("DISCORD_TOKEN is not set: docs/discord.md says where to get one.")
        use_endpoints(self._settings)
        token = self._settings.token.get_secret_value()
        saving = asyncio.create_task(self._save())
        self._connection = asyncio.create_task(
            keep_connected(self._new_client, token, closed=self._on_disconnect)
        )
        try:
            await asyncio.wait({self._connection})
            if not self._connection.cancelled():
                self._connection.result()
        finally:
            try:
                await end(saving, self._connection)
                self._placeholders.close()
                await self._typing.close()
                await self._backfill.close()
            finally:  # even if this is cancelled: the next process needs both
                self._store.close()
                os.close(self._lock)

    async def close(self) -> None:
        """Stop listening; messages in progress are stored first if NATS takes them in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._messages.in_progress.wait_until_idle()
        if self._connection is not None:
            await end(self._connection)

    def health(self) -> tuple[bool, str]:
        """Whether events are coming in, and the reason if they are not."""
        if self._client is None:
            return False, "not connected to Discord"
        return self._client.health()

    def _new_client(self) -> Client:
        self._client = Client(
            self._context, self._backfill, self._messages, self._edits, self._interactions
        )
        add_commands(self._client.tree, self._commands)
        self._context.connect(self._client)
        return self._client

    async def _on_disconnect(self) -> None:
        await self._backfill.close()
        await self._typing.close()

    async def _save(self) -> None:
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            self._store.save()
            if self._followed is not None:
                await self._followed.refresh()

    # --- answering ----------------------------------------------------------------------------

    def prepared(self, text: str) -> str:
        """The text as Discord can show it."""
        return SHAPE.prepared(text)

    async def post(self, part: Part) -> str:
        """Post one part."""
        return await self._poster.post(part)

    async def find_posted(self, part: Part) -> str | None:
        """Find the message of a part that was posted before a crash."""
        return await self._poster.find_posted(part)

    async def show_partial(self, partial: Partial) -> None:
        """Show an answer while it grows."""
        await self._poster.show_partial(partial)

    async def withdraw(self, reply: Reply) -> None:
        """Delete the preview of an answer to a question that was deleted."""
        await self._poster.withdraw(reply)

    async def _show_typing(self, channel: int) -> None:
        with suppress(Later):
            await self._http().send_typing(channel)

    def _http(self) -> HTTPClient:
        client = self._client
        if client is None or client.user is None or client.is_closed():
            raise Later("not connected to Discord", CONNECTING_S)
        return client.http

    def _me(self) -> int:
        client = self._client
        if client is None or client.user is None:
            raise Later("not connected to Discord", CONNECTING_S)
        return client.user.id
