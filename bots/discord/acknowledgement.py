"""First answers to commands and buttons, which Discord wants within 3 s.

If the interaction is stored soon, the first answer shows the result; otherwise a placeholder is
shown. It must never leave a person without an answer.
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
"""The acknowledgement waits this long for the interaction to be stored; Discord's limit is 3 s."""

_UPDATE_MESSAGE: Final = 7

Interaction = discord.Interaction[Any]
Decided = asyncio.Future[str]
"""Resolves to the key of the notice to show instead of the answer; empty if all went well."""


class Acknowledgements:
    """`http` returns the connected client's REST side, or raises Later."""

    def __init__(self, placeholders: Placeholders, http: Callable[[], HTTPClient]) -> None:
        self._placeholders = placeholders
        self._http = http

    async def show_placeholder(self, interaction: Interaction, decided: Decided) -> None:
        """Show that an answer is coming; it will replace the placeholder."""
        if await _soon(decided) and (key := decided.result()):
            self._placeholders.mark_filled(interaction.token)
            await send_privately(interaction, key)
            return
        try:
            response = await interaction.response.defer(thinking=True)
        except discord.NotFound:
            # Too late: the answer will be posted as a new message.
            logger().warning("not acknowledged in time")
            self._placeholders.mark_failed(interaction.token)
        except FAILURES as error:
            # Discord may show the placeholder anyway, so the answer tries to replace it first.
            logger().warning("unknown whether acknowledged", error=type(error).__name__)
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
        """Show only this person that it is done, or why it is not."""
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
        """Show the thumb that was given; if something went wrong, show only this person what."""
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
        # The library's view would stay in memory for every message.
        path = "/interactions/{webhook_id}/{webhook_token}/callback"
        route = Route("POST", path, webhook_id=interaction.id, webhook_token=interaction.token)
        body = {"type": _UPDATE_MESSAGE, "data": {"components": row}}
        await self._http().request(route, json=body)


async def _soon(decided: Decided) -> bool:
    """Whether the result is known in time for the first answer to contain it."""
    await asyncio.wait({decided}, timeout=STORED_FIRST_S)
    return decided.done()


async def send_privately(interaction: Interaction, key: str) -> None:
    """Show a notice to this person only."""
    with suppress(*FAILURES):
        await interaction.response.send_message(
            notice_text(key, interaction.locale), ephemeral=True, suppress_embeds=True
        )
