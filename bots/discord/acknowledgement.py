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

from bots.discord.deferred import Placeholders
from bots.discord.errors import FAILURES
from bots.discord.wording import notice_text
from shared.log import logger

STORED_FIRST_S: Final = 1.2
"""What is used is stored before it is acknowledged, if that takes no longer: 3 s are the limit."""

_UPDATE_MESSAGE: Final = 7

Interaction = discord.Interaction[Any]
Decided = asyncio.Future[str]
"""What there is to say instead of the answer, a key of `NOTICES`; empty if all went well."""


class Acknowledgements:
    """`http` gives the connected client's REST side, or raises Later."""

    def __init__(self, placeholders: Placeholders, http: Callable[[], HTTPClient]) -> None:
        self._placeholders = placeholders
        self._http = http

    async def show_placeholder(self, interaction: Interaction, decided: Decided) -> None:
        """Shows that an answer is on its way; it will take the placeholder's place."""
        if await _soon(decided) and (key := decided.result()):
            self._placeholders.mark_filled(interaction.token)
            await send_privately(interaction, key)
            return
        try:
            response = await interaction.response.defer(thinking=True)
        except discord.NotFound:
            # Too late: the answer comes as a message of its own.
            logger().warning("not acknowledged in time")
            self._placeholders.mark_failed(interaction.token)
        except FAILURES as error:
            # Discord may show the placeholder anyway: the answer is tried there first.
            logger().warning("not known whether acknowledged", error=type(error).__name__)
            self._placeholders.mark_shown(interaction, None)
        else:
            message = response.message_id if response is not None else None
            self._placeholders.mark_shown(interaction, message)
        if key := await decided:
            self._placeholders.mark_filled(interaction.token)
            with suppress(*FAILURES):
                await interaction.edit_original_response(
                    content=notice_text(key, interaction.locale)
                )

    async def reply_privately(self, key: str, interaction: Interaction, decided: Decided) -> None:
        """Tells this person alone that it is done, or why not."""
        if await _soon(decided):
            await send_privately(interaction, decided.result() or key)
            return
        with suppress(*FAILURES):
            await interaction.response.defer(thinking=True, ephemeral=True)
        key = await decided or key
        with suppress(*FAILURES):
            await interaction.edit_original_response(content=notice_text(key, interaction.locale))

    async def update_buttons(
        self, row: list[dict[str, Any]] | None, interaction: Interaction, decided: Decided
    ) -> None:
        """Shows the thumb that was given; tells this person alone what went wrong."""
        if await _soon(decided):
            if key := decided.result():
                await send_privately(interaction, key)
                return
            with suppress(*FAILURES):
                if row is None:
                    await interaction.response.defer()
                else:
                    await self._replace_buttons(interaction, row)
            return
        with suppress(*FAILURES):
            await interaction.response.defer()
        key = await decided
        with suppress(*FAILURES):
            if key:
                text = notice_text(key, interaction.locale)
                await interaction.followup.send(text, ephemeral=True, suppress_embeds=True)
            elif row is not None:
                route = self._placeholders.route(
                    "PATCH", self._placeholders.address_for(interaction, {})
                )
                await self._http().request(route, json={"components": row})

    async def _replace_buttons(self, interaction: Interaction, row: list[dict[str, Any]]) -> None:
        # Not by the library's view, which it would keep in memory for every message.
        path = "/interactions/{webhook_id}/{webhook_token}/callback"
        route = Route("POST", path, webhook_id=interaction.id, webhook_token=interaction.token)
        body = {"type": _UPDATE_MESSAGE, "data": {"components": row}}
        await self._http().request(route, json=body)


async def _soon(decided: Decided) -> bool:
    """Whether it was decided in time for a first answer that says it all."""
    await asyncio.wait({decided}, timeout=STORED_FIRST_S)
    return decided.done()


async def send_privately(interaction: Interaction, key: str) -> None:
    """Answers this person alone."""
    with suppress(*FAILURES):
        await interaction.response.send_message(
            notice_text(key, interaction.locale), ephemeral=True, suppress_embeds=True
        )
