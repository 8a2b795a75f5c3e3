"""Commands and buttons: what people use instead of words.

Discord wants a first answer within 3 s, so what is used is stored and acknowledged side by side. It
must never obey a button of somebody else's answer.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import discord
from discord.http import HTTPClient, Route

from bots.discord import events
from bots.discord.asking import Asking
from bots.discord.buttons import chosen_on, row_of
from bots.discord.interactions import Waiting
from bots.discord.refusals import FAILURES
from bots.discord.typing import Typing
from bots.discord.words import saying
from shared.bus import TooLarge
from shared.log import logger
from shared.messages import Again, AnyEvent, Place, Rate, Reset, Stop

STORED_FIRST_S: Final = 1.2
"""A question is stored before it is acknowledged, if that takes no longer: 3 s are the limit."""

GIVE_UP_AFTER_S: Final = 20.0
"""A command is not in Discord's history: what cannot be stored is told to the person."""

_UPDATE_MESSAGE: Final = 7

Interaction = discord.Interaction[Any]


class Using:
    """What commands and buttons do."""

    def __init__(
        self,
        asking: Asking,
        waiting: Waiting,
        typing: Typing,
        http: Callable[[], HTTPClient],
    ) -> None:
        self._asking = asking
        self._waiting = waiting
        self._typing = typing
        self._http = http

    # --- commands -----------------------------------------------------------------------------

    async def on_ask(
        self, interaction: Interaction, text: str, about: discord.Message | None = None
    ) -> None:
        """A question by command: answered where Discord shows a placeholder."""
        spot = await self._allowed(interaction)
        if spot is None:
            return
        quotes = (events.quote_of(about),) if about is not None and about.content else ()
        address = self._waiting.expect(interaction, _address(interaction, spot))
        asking = asyncio.create_task(self._ask(interaction, spot, text, quotes, about))
        await asyncio.wait({asking}, timeout=STORED_FIRST_S)
        http = interaction.client.http
        try:
            response = await interaction.response.defer(thinking=True)
        except discord.NotFound:
            # Too late: the answer comes as a message of its own.
            logger().warning("not acknowledged in time")
            self._waiting.failed(address)
        except FAILURES as error:
            # Discord may show the placeholder all the same: the answer is tried there first.
            logger().warning("not known whether acknowledged", error=type(error).__name__)
            self._waiting.deferred(address, None, http, interaction.locale)
        else:
            message = response.message_id if response is not None else None
            self._waiting.deferred(address, message, http, interaction.locale)
        await asyncio.wait({asking}, timeout=GIVE_UP_AFTER_S)
        if not asking.done() or asking.exception() is not None:
            long = asking.done() and isinstance(asking.exception(), TooLarge)
            asking.cancel()
            key = "too long" if long else "not taken"
            self._waiting.filled(address)
            with suppress(*FAILURES):
                await interaction.edit_original_response(content=saying(key, interaction.locale))

    async def _ask(
        self,
        interaction: Interaction,
        spot: events.Spot,
        text: str,
        quotes: tuple[Any, ...],
        about: discord.Message | None,
    ) -> None:
        ask = await self._asking.ask(
            interaction.id,
            f"discord-i-{interaction.id}",
            interaction.user.id,
            spot,
            text,
            quotes=quotes,
            files=[about] if about is not None else [],
        )
        address = self._waiting.address(interaction, _address(interaction, spot))
        ask = ask.model_copy(update={"place": _place(spot), "address": address})
        async with self._asking.lane(ask.user):
            await self._asking.publish(ask)

    async def on_reset(self, interaction: Interaction) -> None:
        """Forgets what could be recalled here."""
        spot = await self._allowed(interaction)
        if spot is not None:
            event = Reset(**self._head(interaction, spot))
            stored = await self._stored(event)
            await _whisper(interaction, "reset" if stored else "not taken")

    async def on_help(self, interaction: Interaction) -> None:
        """Says what can be done."""
        if await self._allowed(interaction) is not None:
            await _whisper(interaction, "help")

    # --- buttons ------------------------------------------------------------------------------

    async def on_press(
        self, interaction: Interaction, kind: str, owner: int, prompt_id: str
    ) -> None:
        """Obeys the person who asked."""
        if interaction.user.id != owner:
            await _whisper(interaction, "not yours")
            return
        spot = await self._allowed(interaction)
        if spot is None:
            return
        head = self._head(interaction, spot)
        event: AnyEvent
        chosen = ""
        if kind == "stop":
            event = Stop(**head, prompt_id=prompt_id)
        elif kind == "again":
            event = Again(**head, prompt_id=prompt_id)
        else:
            before = chosen_on(interaction.message) if interaction.message else ""
            chosen = "" if before == kind else kind
            thumb: Any = chosen or "none"
            event = Rate(**head, prompt_id=prompt_id, thumb=thumb)
        if not await self._stored(event):
            await _whisper(interaction, "not taken")
            return
        with suppress(*FAILURES):
            if kind in {"stop", "again"}:
                await interaction.response.defer()
            else:
                row = row_of(owner, prompt_id, "again", "up", "down", chosen=chosen)
                await self._update(interaction, row)
        if kind == "again":
            self._typing.start(event.id, spot.channel)

    async def _update(self, interaction: Interaction, row: list[dict[str, Any]]) -> None:
        # Not by the library's view, which it would keep in memory for every message.
        path = "/interactions/{webhook_id}/{webhook_token}/callback"
        route = Route("POST", path, webhook_id=interaction.id, webhook_token=interaction.token)
        body = {"type": _UPDATE_MESSAGE, "data": {"components": row}}
        await self._http().request(route, json=body)

    # --- both ---------------------------------------------------------------------------------

    async def _allowed(self, interaction: Interaction) -> events.Spot | None:
        """The place, unless this person may not ask there, which is then told."""
        spot = events.spot_of(
            interaction.channel,
            interaction.guild,
            interaction.channel_id or 0,
            self._asking.me,
        )
        why = await self._asking.refusal(interaction.user, spot)
        if why is not None:
            await _whisper(interaction, why)
            return None
        return spot

    async def _stored(self, event: AnyEvent) -> bool:
        try:
            async with asyncio.timeout(STORED_FIRST_S), self._asking.lane(event.user):
                await self._asking.publish(event)
        except TimeoutError:
            return False
        return True

    def _head(self, interaction: Interaction, spot: events.Spot) -> dict[str, Any]:
        said_at: datetime = interaction.created_at
        return {
            "id": f"discord-i-{interaction.id}",
            "user": events.user_of(interaction.user.id),
            "place": _place(spot),
            "address": _address(interaction, spot),
            "said_at": said_at,
        }


def _place(spot: events.Spot) -> Place:
    """What is used in a channel opens no thread."""
    return events.place_of(spot, 0, "place")


def _address(interaction: Interaction, spot: events.Spot) -> dict[str, str]:
    return events.address_of(spot, interaction.id, "place")


async def _whisper(interaction: Interaction, key: str) -> None:
    with suppress(*FAILURES):
        await interaction.response.send_message(
            saying(key, interaction.locale), ephemeral=True, suppress_embeds=True
        )
