"""What the commands do: ask, reset, privacy, export, forget and help.

A command opens no thread: it is answered where it was used.
"""

from contextlib import suppress
from functools import partial
from typing import Any

import discord

from bots.discord.acknowledgement import Interaction, send_privately
from bots.discord.audience import Location, place_of
from bots.discord.buttons import forget_button
from bots.discord.context import Context, Question
from bots.discord.deferred import Placeholders
from bots.discord.errors import FAILURES
from bots.discord.interaction_queue import InteractionQueue, event_fields
from bots.discord.mention_names import mention_names_in
from bots.discord.own_history import OwnHistory
from bots.discord.payloads import Json, dict_in
from bots.discord.quotes import quote_of
from bots.discord.rich_message import own_text
from bots.discord.thread_reader import ThreadReader
from bots.discord.wording import notice_text
from bots.privacy import choice_of, settings_of
from shared.messages import TRAINING, Configure, Quote, Reset


class Commands:
    """Publishes what people do with commands."""

    def __init__(
        self,
        context: Context,
        queue: InteractionQueue,
        threads: ThreadReader,
        placeholders: Placeholders,
        own_history: OwnHistory,
    ) -> None:
        self._context = context
        self._queue = queue
        self._threads = threads
        self._placeholders = placeholders
        self._own_history = own_history

    async def on_ask(
        self, interaction: Interaction, text: str, about: discord.Message | None = None
    ) -> None:
        """Take a question from a command; the answer replaces Discord's placeholder."""
        if self._queue.came_too_late(interaction):
            return
        self._placeholders.expect(interaction)
        notes: list[str] = []
        ask = partial(self._ask, interaction, text, about, notes)
        await self._queue.carry_out(interaction, ask, self._queue.acknowledgements.show_placeholder)
        for key in notes:
            with suppress(*FAILURES):
                await interaction.followup.send(
                    notice_text(key, interaction.locale), ephemeral=True
                )

    async def _ask(
        self,
        interaction: Interaction,
        text: str,
        about: discord.Message | None,
        notes: list[str],
        location: Location,
    ) -> None:
        mention_names = mention_names_in(interaction.channel, interaction.guild)
        quotes: tuple[Quote, ...] = ()
        if about is not None:
            quotes = (quote_of(_payload(interaction, about.id), mention_names, self._context.me),)
        thread = await self._threads.quotes_of_thread(
            location,
            interaction.id,
            interaction.user.id,
            mention_names,
            leave_out=about.id if about is not None else 0,
        )
        question = Question(
            interaction.id,
            f"discord-i-{interaction.id}",
            interaction.user,
            location,
            own_text({"content": text}, mention_names),
            quotes=(*thread, *quotes),
            files=(about,) if about is not None else (),
        )
        # A command opens no thread: it is answered where it was used.
        prepared = await self._context.prepare(question, "place")
        ask = prepared.ask
        address = self._placeholders.address_for(interaction, ask.address)
        ask = ask.model_copy(update={"address": address})
        await self._context.publish(ask)
        self._context.store.remember_question(interaction.id, ask.user, ask.place)
        if prepared.files_left_out:
            notes.append("no room")

    async def on_reset(self, interaction: Interaction) -> None:
        """Forget what was said here."""
        if self._queue.came_too_late(interaction):
            return

        async def reset(location: Location) -> None:
            place = place_of(location, interaction.id, "place")
            await self._context.publish(Reset(**event_fields(interaction, location, place)))

        await self._queue.carry_out(
            interaction, reset, partial(self._queue.acknowledgements.reply_privately, "reset")
        )

    async def on_privacy(self, interaction: Interaction, training: str | None) -> None:
        """Show what is stored and why; with `on` or `off`, allow or forbid training on it."""
        choice = choice_of(f"{TRAINING} {training}")

        async def decide(location: Location) -> None:
            if choice is not None:
                place = place_of(location, interaction.id, "place")
                fields = event_fields(interaction, location, place)
                await self._context.publish(Configure(**fields, settings=settings_of(choice)))

        key = "privacy" if choice is None else f"training {training}"
        await self._queue.carry_out(
            interaction, decide, partial(self._queue.acknowledgements.reply_privately, key)
        )

    async def on_forget(self, interaction: Interaction) -> None:
        """Ask whether everything about this person is to be erased."""
        locale = interaction.locale
        location = await self._queue.location(interaction)
        if why := await self._queue.why_not(interaction, location):
            await send_privately(interaction, why)
            return
        button = forget_button(interaction.user.id, notice_text("erase", locale))
        with suppress(*FAILURES):
            await interaction.response.send_message(
                notice_text("forget", locale), ephemeral=True, view=button
            )

    async def on_export(self, interaction: Interaction) -> None:
        """Give this person what is recorded of them, as a file that nobody else sees."""

        async def refusal() -> str:
            return await self._queue.why_not(interaction, await self._queue.location(interaction))

        await self._own_history.send(interaction, refusal)

    async def on_help(self, interaction: Interaction) -> None:
        """Show what the bot can do."""

        async def nothing(_: Location) -> None:
            pass

        await self._queue.carry_out_privately(interaction, "help", nothing)


def _payload(interaction: Interaction, message: int) -> Json:
    """The message on which the message menu was opened, as Discord sent it."""
    data: Any = interaction.data or {}
    return dict_in(dict_in(dict_in(data.get("resolved")).get("messages")).get(str(message)))
