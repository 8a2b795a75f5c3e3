"""One client of Discord's gateway: discord.py's, with the smallest caches, telling one listener.

discord.py resumes short gaps itself. An event that it cannot read must never end it, unless there
is no session without that event.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Protocol

import aiohttp
import discord
import yarl
from discord import app_commands
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bots.discord.buttons import AnswerButton
from bots.discord.clock import DiscordClock
from bots.discord.errors import LONGEST_WAIT_S
from bots.discord.events import Received
from bots.discord.payloads import Json
from bots.discord.settings import DiscordSettings
from bots.discord.store import Store
from bots.discord.wording import CommandNames
from shared.log import logger

IDENTIFIES_A_DAY: Final = 900
"""At 1000 in 24 hours Discord resets the token."""

IDENTIFY_WAIT_S: Final = 300.0
"""Near that number: 288 a day, which the day's rest allows."""

HEARTBEAT_TIMEOUT_S: Final = 60.0
"""The gateway answers a heartbeat every 41 s. After this long without a single frame discord.py
resumes the session on a new connection, to which it gives as long to say hello."""

SILENT_AFTER_S: Final = 65.0
"""Readiness says so only if discord.py did not notice."""

LATENCY_LIMIT_S: Final = 15.0
GUILDS_WITHIN_S: Final = 1.0
RATE_LIMIT_WAIT_S: Final = 30.0
"""discord.py's least: a longer wait is the relay's."""

GATE_OPENS_AFTER_S: Final = RATE_LIMIT_WAIT_S + 1.0
"""By then no request waits for a rate limit by itself any more."""

COMMANDS_FACT: Final = "commands"

_NEEDED: Final = frozenset({"READY", "RESUMED"})
"""Without these there is no session: what goes wrong in them ends the client."""


class Listener(Protocol):
    """Who is told what happens on Discord."""

    async def on_gap(self) -> None:
        """A new session begins: what was said since the last one is not delivered."""

    async def on_ready(self, client: "Client") -> None:
        """The servers are known."""

    async def on_message(self, received: Received) -> None:
        """Somebody wrote."""

    async def on_unreadable(self, raw: Json) -> None:
        """Somebody wrote what the library cannot read."""

    async def on_edit(self, received: Received) -> None:
        """Somebody changed a message."""

    async def on_delete(self, message_ids: "set[int]", channel: int) -> None:
        """Messages of a channel were deleted."""

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
        store: Store,
        clock: DiscordClock,
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
            heartbeat_timeout=HEARTBEAT_TIMEOUT_S,
            http_trace=self._trace(clock),
            enable_debug_events=True,  # only for the time of the last frame: see `dispatch`
        )
        self._listener = listener
        self._store = store
        self._clock = clock
        self._reading: set[asyncio.Task[None]] = set()
        self._parsed: Any = None
        """The payload that the library is reading: it hands messages on while it does so."""

        parsers = self._connection.parsers
        parsers.update({event: self._guarded(event, parse) for event, parse in parsers.items()})
        self.heard_at = time.monotonic()
        self.guilds_known = False
        self.tree = app_commands.CommandTree(self)
        add_commands(self.tree)

    def _trace(self, clock: DiscordClock) -> aiohttp.TraceConfig:
        """Looks at each response of Discord's API: its time, and whether it is a rate limit."""

        async def ended(_: object, __: object, params: aiohttp.TraceRequestEndParams) -> None:
            if not str(params.url).startswith(Route.BASE):
                return
            clock.saw_date(params.response.headers.get("Date"))
            if params.response.status == HTTPStatus.TOO_MANY_REQUESTS:
                # discord.py holds up all requests during a global limit, and would do so forever
                # if the one that met it is cancelled meanwhile.
                over: asyncio.Event = self.http._global_over  # noqa: SLF001
                asyncio.get_running_loop().call_later(GATE_OPENS_AFTER_S, over.set)

        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(ended)
        return trace

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Hands an event on, a message with its payload; of raw frames only their time is kept."""
        if event == "socket_raw_receive":
            self.heard_at = time.monotonic()
        elif event == "message":
            super().dispatch(event, *args, self._parsed, **kwargs)
        elif event != "socket_raw_send":
            super().dispatch(event, *args, **kwargs)

    def _guarded(self, event: str, parse: Callable[[Any], None]) -> Callable[[Any], None]:
        """The library's parser of an event, which must not end the client."""
        if event in _NEEDED:
            return parse

        def parsed(data: Any) -> None:
            self._parsed = data
            try:
                parse(data)
            except Exception as error:  # noqa: BLE001  (whatever Discord sent)
                logger().error(
                    "event not readable", gateway_event=event, error=type(error).__name__
                )
                if event == "MESSAGE_CREATE" and isinstance(data, dict):
                    task = asyncio.create_task(self._listener.on_unreadable(data))
                    self._reading.add(task)
                    task.add_done_callback(self._reading.discard)
            finally:
                self._parsed = None

        return parsed

    async def setup_hook(self) -> None:
        """Before the first connection: buttons of earlier runs; commands if they changed."""
        self.add_dynamic_items(AnswerButton)
        await self.tree.set_translator(CommandNames())
        await self._sync_commands()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Counts, and waits where a crash loop would cost the token."""
        await super().before_identify_hook(shard_id, initial=initial)
        count = self._store.identified(self._clock.now())
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
        if self._store.fact(COMMANDS_FACT) == digest:
            return
        try:
            await self.tree.sync()
        except (discord.HTTPException, discord.RateLimited, app_commands.CommandSyncFailure) as err:
            # Mentions and buttons work without; the next start tries again.
            logger().error("commands not synced", error=type(err).__name__)
        else:
            self._store.remember(COMMANDS_FACT, digest)

    # --- events: names are discord.py's ---------------------------------------------------------

    async def on_shard_connect(self, shard_id: int) -> None:
        """A new session (a resumed one is not told here)."""
        del shard_id
        self.guilds_known = False
        await self._listener.on_gap()

    async def on_ready(self) -> None:
        """All servers are there."""
        await self._listener.on_ready(self)
        self.guilds_known = True

    async def on_message(self, message: discord.Message, raw: Json) -> None:
        """A message was written."""
        await self._listener.on_message(Received(message, raw))

    async def on_raw_message_edit(self, payload: discord.RawMessageUpdateEvent) -> None:
        """A message was changed, or Discord added a preview of a link to it."""
        if payload.message.edited_at is not None:
            raw: Any = payload.data
            await self._listener.on_edit(Received(payload.message, raw))

    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        """A message was deleted."""
        await self._listener.on_delete({payload.message_id}, payload.channel_id)

    async def on_raw_bulk_message_delete(self, payload: discord.RawBulkMessageDeleteEvent) -> None:
        """Many were."""
        await self._listener.on_delete(payload.message_ids, payload.channel_id)

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
        if not self.guilds_known or not shards:
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


def _no_number(_: str) -> float:
    """What counts instead of NaN and Infinity, which JSON does not have."""
    return LONGEST_WAIT_S


def use_endpoints(settings: DiscordSettings) -> None:
    """Has the library speak to other addresses, and read JSON strictly; it knows no other way."""
    # A wait that is not a number would disturb the event loop's timers.
    discord.utils._from_json = partial(json.loads, parse_constant=_no_number)  # noqa: SLF001
    if settings.api_url:
        Route.BASE = settings.api_url.rstrip("/")
    if settings.gateway_url:
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(settings.gateway_url)
