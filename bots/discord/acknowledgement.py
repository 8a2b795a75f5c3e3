"""First answers to commands and buttons, which Discord wants within 3 s.

What was used is stored meanwhile: if that is decided soon, the first answer says how it went, else
a placeholder takes its place. It must never leave a person without a word.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import discord
from discord.http import HTTPClient, Route

from bots.discord.deferred import Waiting
from bots.discord.errors import FAILURES
from bots.discord.wording import saying
from shared.log import logger

STORED_FIRST_S: Final = 1.2
"""What is used is stored before it is acknowledged, if that takes no longer: 3 s are the limit."""

_UPDATE_MESSAGE: Final = 7

Interaction = discord.Interaction[Any]
Decided = asyncio.Future[str]
"""What there is to say instead of the answer, a key of `SAYINGS`; empty if all went well."""


class Acknowledging:
    """`http` gives the connected client's REST side, or raises Later."""

    def __init__(self, waiting: Waiting, http: Callable[[], HTTPClient]) -> None:
        self._waiting = waiting
        self._http = http

    async def placeholder(self, interaction: Interaction, decided: Decided) -> None:
        """Shows that an answer is on its way; it will take the placeholder's place."""
        if await _soon(decided) and (key := decided.result()):
            self._waiting.filled(interaction.token)
            await whisper(interaction, key)
            return
        try:
            response = await interaction.response.defer(thinking=True)
        except discord.NotFound:
            # Too late: the answer comes as a message of its own.
            logger().warning("not acknowledged in time")
            self._waiting.failed(interaction.token)
        except FAILURES as error:
            # Discord may show the placeholder anyway: the answer is tried there first.
            logger().warning("not known whether acknowledged", error=type(error).__name__)
            self._waiting.deferred(interaction, None)
        else:
            message = response.message_id if response is not None else None
            self._waiting.deferred(interaction, message)
        if key := await decided:
            self._waiting.filled(interaction.token)
            with suppress(*FAILURES):
                await interaction.edit_original_response(content=saying(key, interaction.locale))

    async def alone(self, key: str, interaction: Interaction, decided: Decided) -> None:
        """Tells this person alone that it is done, or why not."""
        if await _soon(decided):
            await whisper(interaction, decided.result() or key)
            return
        with suppress(*FAILURES):
            await interaction.response.defer(thinking=True, ephemeral=True)
        key = await decided or key
        with suppress(*FAILURES):
            await interaction.edit_original_response(content=saying(key, interaction.locale))

    async def press(
        self, row: list[dict[str, Any]] | None, interaction: Interaction, decided: Decided
    ) -> None:
        """Shows the thumb that was given; tells this person alone what went wrong."""
        if await _soon(decided):
            if key := decided.result():
                await whisper(interaction, key)
                return
            with suppress(*FAILURES):
                if row is None:
                    await interaction.response.defer()
                else:
                    await self._update(interaction, row)
            return
        with suppress(*FAILURES):
            await interaction.response.defer()
        key = await decided
        with suppress(*FAILURES):
            if key:
                text = saying(key, interaction.locale)
                await interaction.followup.send(text, ephemeral=True, suppress_embeds=True)
            elif row is not None:
                route = self._waiting.original("PATCH", self._waiting.address(interaction, {}))
                await self._http().request(route, json={"components": row})

    async def _update(self, interaction: Interaction, row: list[dict[str, Any]]) -> None:
        # Not by the library's view, which it would keep in memory for every message.
        path = "/interactions/{webhook_id}/{webhook_token}/callback"
        route = Route("POST", path, webhook_id=interaction.id, webhook_token=interaction.token)
        body = {"type": _UPDATE_MESSAGE, "data": {"components": row}}
        await self._http().request(route, json=body)


async def _soon(decided: Decided) -> bool:
    """Whether it was decided in time for a first answer that says it all."""
    await asyncio.wait({decided}, timeout=STORED_FIRST_S)
    return decided.done()


async def whisper(interaction: Interaction, key: str) -> None:
    """Answers this person alone."""
    with suppress(*FAILURES):
        await interaction.response.send_message(
            saying(key, interaction.locale), ephemeral=True, suppress_embeds=True
        )
