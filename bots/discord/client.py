"""The connection to Discord's gateway, kept for as long as the process lives.

discord.py resumes short gaps itself; what ends its client is met here with a new one after a
growing wait. It must never run two clients, nor ask again where asking cannot help.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Protocol

import discord
import yarl
from discord import app_commands
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bots.adapter import Misconfigured
from bots.discord.buttons import AnswerButton
from bots.discord.memory import Memory
from bots.discord.settings import DiscordSettings
from bots.discord.words import Names
from shared.log import logger

FATAL_CODES: Final = frozenset({4004, 4010, 4011, 4012, 4013, 4014})
"""Close codes that a new connection would only meet again: token, shard, version, intents."""

FIRST_WAIT_S: Final = 1.0
LAST_WAIT_S: Final = 60.0
LIVED_S: Final = 120.0
"""A client that lived so long was well: the next wait is the first one again."""

CLOSE_WITHIN_S: Final = 10.0
IDENTIFIES_A_DAY: Final = 900
"""At 1000 in 24 hours Discord resets the token."""

IDENTIFY_WAIT_S: Final = 300.0
"""Near that number: 288 a day, which the day's rest allows."""

SILENT_AFTER_S: Final = 65.0
"""A heartbeat is answered every 41 s; discord.py itself acts after 60 s."""

LATENCY_LIMIT_S: Final = 15.0
GUILDS_WITHIN_S: Final = 1.0
RATE_LIMIT_WAIT_S: Final = 30.0
"""discord.py's least: a longer wait is the relay's."""

COMMANDS_FACT: Final = "commands"


class Listener(Protocol):
    """Who is told what happens on Discord."""

    async def on_gap(self) -> None:
        """A new session begins: what was said since the last one is not delivered."""

    async def on_ready(self, client: "Client") -> None:
        """The servers are known."""

    async def on_message(self, message: discord.Message) -> None:
        """Somebody wrote."""

    async def on_edit(self, message: discord.Message) -> None:
        """Somebody changed a message."""

    async def on_delete(self, message_ids: "set[int]") -> None:
        """Messages were deleted."""

    async def on_press(
        self, interaction: "discord.Interaction[Any]", kind: str, owner: int, prompt_id: str
    ) -> None:
        """A button was pressed."""


class Client(discord.AutoShardedClient):
    """discord.py's client with the smallest caches, telling one listener."""

    def __init__(
        self,
        settings: DiscordSettings,
        listener: Listener,
        memory: Memory,
        add_commands: Callable[[app_commands.CommandTree[Any]], None],
    ) -> None:
        super().__init__(
            intents=intents_of(settings),
            member_cache_flags=discord.MemberCacheFlags.none(),
            max_messages=None,
            chunk_guilds_at_startup=False,
            guild_ready_timeout=GUILDS_WITHIN_S,
            allowed_mentions=discord.AllowedMentions.none(),
            max_ratelimit_timeout=RATE_LIMIT_WAIT_S,
            enable_debug_events=True,  # only for the time of the last frame: see `dispatch`
        )
        self._listener = listener
        self._memory = memory
        self.heard_at = time.monotonic()
        self.settled = False
        self.tree = app_commands.CommandTree(self)
        add_commands(self.tree)

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Hands an event on; of raw frames only their time is kept."""
        if event == "socket_raw_receive":
            self.heard_at = time.monotonic()
        elif event != "socket_raw_send":
            super().dispatch(event, *args, **kwargs)

    async def setup_hook(self) -> None:
        """Before the first connection: buttons of earlier runs; commands if they changed."""
        self.add_dynamic_items(AnswerButton)
        await self.tree.set_translator(Names())
        await self._sync_commands()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Counts, and waits where a crash loop would cost the token."""
        await super().before_identify_hook(shard_id, initial=initial)
        count = self._memory.identified(time.time())
        if count > IDENTIFIES_A_DAY:
            logger().error("too many new sessions in a day: waiting", count=count)
            await asyncio.sleep(IDENTIFY_WAIT_S)

    async def _sync_commands(self) -> None:
        translator = self.tree.translator
        assert translator is not None  # noqa: S101  (set in the line before the call)
        payload = [
            await command.get_translated_payload(self.tree, translator)
            for command in self.tree.get_commands()
        ]
        told = json.dumps([self.application_id, payload], sort_keys=True, default=str)
        digest = hashlib.sha256(told.encode()).hexdigest()
        if self._memory.fact(COMMANDS_FACT) == digest:
            return
        try:
            await self.tree.sync()
        except (discord.HTTPException, discord.RateLimited, app_commands.CommandSyncFailure) as err:
            # Mentions and buttons work without; the next start tries again.
            logger().error("commands not synced", error=type(err).__name__)
        else:
            self._memory.remember(COMMANDS_FACT, digest)

    # --- events: names are discord.py's ---------------------------------------------------------

    async def on_shard_connect(self, shard_id: int) -> None:
        """A new session (a resumed one is not told here)."""
        del shard_id
        self.settled = False
        await self._listener.on_gap()

    async def on_ready(self) -> None:
        """All servers are there."""
        self.settled = True
        await self._listener.on_ready(self)

    async def on_message(self, message: discord.Message) -> None:
        """A message was written."""
        await self._listener.on_message(message)

    async def on_raw_message_edit(self, payload: discord.RawMessageUpdateEvent) -> None:
        """A message was changed, or Discord added a preview of a link to it."""
        if payload.message.edited_at is not None:
            await self._listener.on_edit(payload.message)

    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        """A message was deleted."""
        await self._listener.on_delete({payload.message_id})

    async def on_raw_bulk_message_delete(self, payload: discord.RawBulkMessageDeleteEvent) -> None:
        """Many were."""
        await self._listener.on_delete(payload.message_ids)

    async def pressed(
        self, interaction: "discord.Interaction[Any]", kind: str, owner: int, prompt_id: str
    ) -> None:
        """A button of ours was pressed."""
        await self._listener.on_press(interaction, kind, owner, prompt_id)

    async def on_error(self, event_method: str, /, *_: Any, **__: Any) -> None:
        """A defect in one event must not end the others."""
        logger().exception("event not handled", event_method=event_method)

    # --- health -------------------------------------------------------------------------------

    def health(self) -> tuple[bool, str]:
        """Whether events come in now, and why not in words."""
        shards = self.shards.values()
        if not self.settled or not shards:
            return False, "not connected to Discord's gateway"
        if any(shard.is_closed() for shard in shards):
            return False, "connecting to Discord's gateway anew"
        if time.monotonic() - self.heard_at > SILENT_AFTER_S:
            return False, "Discord's gateway is silent"
        latency = max(shard.latency for shard in shards)
        if latency > LATENCY_LIMIT_S and latency != float("inf"):  # infinite before the first beat
            return False, f"Discord's gateway answers after {latency:.0f} s"
        return True, "ok"


def intents_of(settings: DiscordSettings) -> discord.Intents:
    """The least that is needed: 37377, or 4609 without the privileged message content."""
    intents = discord.Intents.none()
    intents.guilds = intents.guild_messages = intents.dm_messages = True
    intents.message_content = settings.message_content
    return intents


def use_endpoints(settings: DiscordSettings) -> None:
    """Has the library speak to other addresses; it knows no other way."""
    if settings.api_url:
        Route.BASE = settings.api_url.rstrip("/")
    if settings.gateway_url:
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(settings.gateway_url)


async def keep_connected(
    make: Callable[[], Client], token: str, *, closed: Callable[[], Awaitable[None]]
) -> None:
    """Runs one client after the other for ever; `closed` is called after each.

    Raises:
        Misconfigured: the token or the intents are refused.
    """
    wait_s = FIRST_WAIT_S
    while True:
        client = make()
        started = time.monotonic()
        try:
            await client.start(token)
            why = "closed"
        except discord.LoginFailure as error:
            raise Misconfigured(
                "DISCORD_TOKEN is refused: reset it under Bot at "
                "https://discord.com/developers/applications and set the new one."
            ) from error
        except discord.PrivilegedIntentsRequired as error:
            raise Misconfigured(
                "Discord refuses the message content intent: enable it under Bot at "
                "https://discord.com/developers/applications, or set DISCORD_MESSAGE_CONTENT=false."
            ) from error
        except discord.ConnectionClosed as error:
            if error.code in FATAL_CODES:
                raise Misconfigured(
                    f"Discord's gateway closed with {error.code}, which no retry mends: "
                    "is DISCORD_TOKEN still good? `threadwax doctor discord` tells."
                ) from error
            why = f"close code {error.code}"
        except Exception as error:  # noqa: BLE001  (a malformed event ends discord.py's client)
            why = type(error).__name__
        finally:
            await _closed(client)
            await closed()
        if time.monotonic() - started > LIVED_S:
            wait_s = FIRST_WAIT_S
        logger().warning("disconnected from discord", why=why, wait_s=wait_s)
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, LAST_WAIT_S)


async def _closed(client: Client) -> None:
    # AttributeError: a client that never got as far as its own queue.
    with suppress(Exception):
        async with asyncio.timeout(CLOSE_WITHIN_S):
            await client.close()
