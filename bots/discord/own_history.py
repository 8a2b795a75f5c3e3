"""The command /export: a person's own data as a file that only they can see and download.

It must never show the file to anybody else, nor fetch it for anybody but the person who asked.
"""

import asyncio
import io
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import discord

from bots.discord.acknowledgement import Interaction
from bots.discord.audience import user_of
from bots.discord.errors import FAILURES
from bots.discord.wording import notice_text
from shared.log import logger
from shared.own_history import NotNow, file_name

FetchHistory = Callable[[str], Awaitable[bytes]]
"""What is recorded of a user, as Markdown; raises `NotNow`."""

CONCURRENT: Final = 4
"""Files that are sent at a time; each takes up to 8 MiB."""


class OwnHistory:
    """Sends the files of one process."""

    def __init__(self, fetch: FetchHistory) -> None:
        self._fetch = fetch
        self._slots = asyncio.Semaphore(CONCURRENT)

    async def send(self, interaction: Interaction, refusal: Callable[[], Awaitable[str]]) -> None:
        """Answer the command privately with the file; `refusal` names a notice to show instead."""
        # First: Discord waits 3 s for it.
        with suppress(*FAILURES):
            await interaction.response.defer(thinking=True, ephemeral=True)
        try:
            key = await refusal() or await self._sent(interaction)
        except (NotNow, *FAILURES) as error:
            logger().warning("a history was not sent", id=interaction.id, why=type(error).__name__)
            key = "export failed"
        if key:
            with suppress(*FAILURES):
                await interaction.edit_original_response(
                    content=notice_text(key, interaction.locale)
                )

    async def _sent(self, interaction: Interaction) -> str:
        """Shows the file; returns the key of a notice if there is nothing to show."""
        async with self._slots:
            data = await self._fetch(user_of(interaction.user.id))
            if not data:
                return "export nothing"
            file = discord.File(io.BytesIO(data), filename=file_name(datetime.now(UTC)))
            await interaction.edit_original_response(
                content=notice_text("exported", interaction.locale), attachments=[file]
            )
        return ""
