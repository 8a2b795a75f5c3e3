"""One client of Discord's gateway: discord.py's, with the smallest caches.

It passes each event to the object that handles it; discord.py itself resumes after short gaps. An
event that it cannot read must never end the client, unless there is no session without that event.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import discord
import yarl
from discord import app_commands
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bots.discord.backfill import Backfill
from bots.discord.clock import DiscordClock
from bots.discord.context import Context
from bots.discord.corrections import correction_in
from bots.discord.declarations import AnswerButton
from bots.discord.edits import Edits
from bots.discord.errors import LONGEST_WAIT_S
from bots.discord.events import Received
from bots.discord.interactions import Interactions
from bots.discord.messages import Messages
from bots.discord.payloads import Json, dict_in
from bots.discord.settings import DiscordSettings
from bots.discord.wording import CommandNames
from shared.log import logger

IDENTIFIES_A_DAY: Final = 900
"""Discord resets the token after 1000 in 24 hours."""

IDENTIFY_WAIT_S: Final = 300.0
"""Wait before each further session: at most 288 per day."""

HEARTBEAT_TIMEOUT_S: Final = 60.0
"""The gateway answers a heartbeat every 41 s. After this long without a single frame, discord.py
resumes the session on a new connection, which in turn gets this long to send its first frame."""

SILENT_AFTER_S: Final = 65.0
"""Longer than `HEARTBEAT_TIMEOUT_S`: the health check reports silence only if discord.py missed
it."""

ANSWERED_FOR_S: Final = 4.0
ANSWERS_WITHIN_S: Final = 3.0
"""Of an idle gateway, heartbeats come every 41 s. While another process could take over, the API is
asked instead whether this one is cut off from Discord."""

LATENCY_LIMIT_S: Final = 15.0
GUILDS_WITHIN_S: Final = 1.0
RATE_LIMIT_WAIT_S: Final = 30.0
"""The shortest that discord.py allows. The relay takes care of longer waits."""

GATE_OPENS_AFTER_S: Final = RATE_LIMIT_WAIT_S + 1.0
"""By then, discord.py no longer holds any request back for a rate limit."""

COMMANDS_FACT: Final = "commands"

_NEEDED: Final = frozenset({"READY", "RESUMED"})
"""There is no session without these, so an error in them ends the client."""


class Client(discord.AutoShardedClient):
    """discord.py's client with the smallest caches."""

    def __init__(
        self,
        context: Context,
        backfill: Backfill,
        messages: Messages,
        edits: Edits,
        interactions: Interactions,
    ) -> None:
        super().__init__(
            intents=intents_of(context.settings),
            member_cache_flags=discord.MemberCacheFlags.none(),
            max_messages=None,
            chunk_guilds_at_startup=False,
            guild_ready_timeout=GUILDS_WITHIN_S,
            allowed_mentions=discord.AllowedMentions.none(),
            max_ratelimit_timeout=RATE_LIMIT_WAIT_S,
            heartbeat_timeout=HEARTBEAT_TIMEOUT_S,
            http_trace=self._trace(context.clock),
            enable_debug_events=True,  # for the time of the last frame: see `dispatch`
        )
        self.interactions = interactions
        """Public because discord.py creates `AnswerButton`, which finds it here."""

        self._context = context
        self._backfill = backfill
        self._messages = messages
        self._edits = edits
        self._reading: set[asyncio.Task[None]] = set()
        self._parsed: Any = None
        """The payload that discord.py is parsing: it dispatches the message while it does so."""

        parsers = self._connection.parsers
        parsers.update({event: self._guarded(event, parse) for event, parse in parsers.items()})
        self.heard_at = time.monotonic()
        self._answered_at = self.heard_at
        self.tree = app_commands.CommandTree(self)

    def _trace(self, clock: DiscordClock) -> aiohttp.TraceConfig:
        """Look at each response of Discord's API: its date, and whether it is a rate limit."""

        async def ended(_: object, __: object, params: aiohttp.TraceRequestEndParams) -> None:
            if not str(params.url).startswith(Route.BASE):
                return
            clock.saw_date(params.response.headers.get("Date"))
            if params.response.status == HTTPStatus.TOO_MANY_REQUESTS:
                # During a global rate limit discord.py holds up all requests, and would do so
                # forever if the request that hit the limit is cancelled.
                over: asyncio.Event = self.http._global_over  # noqa: SLF001
                asyncio.get_running_loop().call_later(GATE_OPENS_AFTER_S, over.set)

        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(ended)
        return trace

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Add the payload to a message event; of raw frames keep only the time."""
        if event == "socket_raw_receive":
            self.heard_at = time.monotonic()
        elif event == "message":
            super().dispatch(event, *args, self._parsed, **kwargs)
        elif event != "socket_raw_send":
            super().dispatch(event, *args, **kwargs)

    def _guarded(self, event: str, parse: Callable[[Any], None]) -> Callable[[Any], None]:
        """Wrap discord.py's parser of an event, so that an error in it cannot end the client."""
        if event in _NEEDED:
            return parse

        def parsed(data: Any) -> None:
            self._parsed = data
            try:
                parse(data)
            except Exception as error:  # noqa: BLE001  (any oddity in the event)
                logger().error(
                    "event not readable", gateway_event=event, error=type(error).__name__
                )
                if event == "MESSAGE_CREATE" and isinstance(data, dict):
                    task = asyncio.create_task(self._messages.take_unreadable(data))
                    self._reading.add(task)
                    task.add_done_callback(self._reading.discard)
            finally:
                self._parsed = None

        return parsed

    async def setup_hook(self) -> None:
        """Before the first connection: register the buttons, and sync commands that changed."""
        self.add_dynamic_items(AnswerButton)
        await self.tree.set_translator(CommandNames())
        await self._sync_commands()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Count sessions, and slow down before a crash loop makes Discord reset the token."""
        await super().before_identify_hook(shard_id, initial=initial)
        count = self._context.store.identified(self._context.clock.now())
        if count > IDENTIFIES_A_DAY:
            logger().error("too many new sessions in a day, waiting", count=count)
            await asyncio.sleep(IDENTIFY_WAIT_S)

    async def _sync_commands(self) -> None:
        translator = self.tree.translator
        assert translator is not None  # noqa: S101  (set in the line before the call)
        payload = [
            await command.get_translated_payload(self.tree, translator)
            for command in self.tree.get_commands()
        ]
        synced = json.dumps([self.application_id, payload], sort_keys=True, default=str)
        digest = hashlib.sha256(synced.encode()).hexdigest()
        if self._context.store.fact(COMMANDS_FACT) == digest:
            return
        try:
            await self.tree.sync()
        except (discord.HTTPException, discord.RateLimited, app_commands.CommandSyncFailure) as err:
            # Mentions and buttons work without commands; the next start tries again.
            logger().error("commands not synced", error=type(err).__name__)
        else:
            self._context.store.remember(COMMANDS_FACT, digest)

    # --- events: names are discord.py's ---------------------------------------------------------

    async def on_shard_connect(self, shard_id: int) -> None:
        """A new session; discord.py does not call this for a resumed one."""
        del shard_id
        await self._backfill.on_gap()

    async def on_ready(self) -> None:
        """All servers are known."""
        await self._backfill.on_ready(self)

    async def on_interaction(self, interaction: "discord.Interaction[Any]") -> None:
        """Somebody sent a form; discord.py itself calls commands and buttons."""
        if interaction.type is discord.InteractionType.modal_submit:
            said = correction_in(dict_in(interaction.data))
            if said is not None:
                await self.interactions.on_correction(interaction, said)

    async def on_message(self, message: discord.Message, raw: Json) -> None:
        """Somebody wrote a message."""
        await self._backfill.on_message(Received(message, raw))

    async def on_raw_message_edit(self, payload: discord.RawMessageUpdateEvent) -> None:
        """A message was edited. Discord also sends this event when it adds a link preview."""
        if payload.message.edited_at is not None:
            raw: Any = payload.data
            await self._edits.on_edit(Received(payload.message, raw))

    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        """A message was deleted."""
        await self._edits.on_delete({payload.message_id}, payload.channel_id)

    async def on_raw_bulk_message_delete(self, payload: discord.RawBulkMessageDeleteEvent) -> None:
        """Many messages were deleted at once."""
        await self._edits.on_delete(payload.message_ids, payload.channel_id)

    async def on_error(self, event_method: str, /, *_: Any, **__: Any) -> None:
        """Log a defect in one event; it must not end the others."""
        logger().exception("event not handled", event_method=event_method)

    # --- health -------------------------------------------------------------------------------

    def health(self) -> tuple[bool, str]:
        """Whether events are coming in, and the reason if they are not."""
        shards = self.shards.values()
        if not self._context.guilds_known or not shards:
            return False, "not connected to Discord's gateway"
        if any(shard.is_closed() for shard in shards):
            return False, "reconnecting to Discord's gateway"
        if time.monotonic() - self.heard_at > SILENT_AFTER_S:
            return False, "Discord's gateway is silent"
        latency = max(map(latency_s, shards))
        if latency > LATENCY_LIMIT_S:
            return False, f"Discord's gateway answers after {latency:.0f} s"
        return True, "ok"

    async def reaches(self) -> bool:
        """Whether Discord answers now: its gateway by itself, or else its API."""
        if not self.health()[0]:
            return False
        if time.monotonic() - max(self.heard_at, self._answered_at) < ANSWERED_FOR_S:
            return True
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                await self.http.get_bot_gateway()
        except (TimeoutError, aiohttp.ClientError, OSError):
            return False
        except discord.DiscordException:
            pass  # a refusal is an answer, too
        self._answered_at = time.monotonic()
        return True


def latency_s(shard: discord.ShardInfo) -> float:
    """How late Discord's gateway answers to beats; 0 if that is not known."""
    beats = shard._parent.ws._keep_alive  # noqa: SLF001  (discord.py shows the latency only)
    if beats is None or beats.interval is None or beats.latency >= beats.interval:
        # discord.py notes in another thread that it has sent a beat. It measures an answer that
        # comes before that from the previous beat, so the result is longer than the interval.
        return 0.0
    return beats.latency


def intents_of(settings: DiscordSettings) -> discord.Intents:
    """The minimal intents: 37377, or 4609 without the privileged message content."""
    intents = discord.Intents.none()
    intents.guilds = intents.guild_messages = intents.dm_messages = True
    intents.message_content = settings.message_content
    return intents


def _no_number(_: str) -> float:
    """Replaces NaN and Infinity, which are not JSON."""
    return LONGEST_WAIT_S


def use_endpoints(settings: DiscordSettings) -> None:
    """Set the addresses that discord.py uses, and have it read JSON strictly.

    discord.py offers no other way than to change its module's variables.
    """
    # A wait that is NaN would break the event loop's timers.
    discord.utils._from_json = partial(json.loads, parse_constant=_no_number)  # noqa: SLF001
    if settings.api_url:
        Route.BASE = settings.api_url.rstrip("/")
    if settings.gateway_url:
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(settings.gateway_url)
