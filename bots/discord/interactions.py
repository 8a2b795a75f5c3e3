"""Buttons, and the form behind a thumb down.

It must never obey a button below somebody else's answer.
"""

import re
from contextlib import suppress
from functools import partial
from typing import Any, Final

from bots.discord.acknowledgement import Interaction, send_privately
from bots.discord.audience import Location, current_place_of, place_of
from bots.discord.buttons import UNFINISHED, rated_row, thumb_on
from bots.discord.context import Context
from bots.discord.corrections import Correction, form_for
from bots.discord.errors import FAILURES
from bots.discord.interaction_queue import InteractionQueue, event_fields
from bots.discord.working import TypingIndicator
from shared.messages import Again, AnyEvent, Forget, Place, Rate, Stop

_SOURCE: Final = re.compile(r"discord-(?:i-)?(\d{1,20})(?:-|$)", re.ASCII)


class Interactions:
    """Publishes what people do with buttons and forms."""

    def __init__(
        self,
        context: Context,
        queue: InteractionQueue,
        typing: TypingIndicator,
    ) -> None:
        self._context = context
        self._queue = queue
        self._typing = typing

    async def on_press(
        self, interaction: Interaction, kind: str, owner: int, prompt_id: str
    ) -> None:
        """Obey a button if it was pressed by the person who asked the question."""
        if interaction.user.id != owner:
            await send_privately(interaction, "not yours")
            return
        if kind == "forget":
            await self._forget(interaction)
            return
        if kind == "correct":
            with suppress(*FAILURES):
                form = form_for(owner, prompt_id, interaction.locale)
                await interaction.response.send_modal(form)
            return
        if kind == "again" and self._queue.came_too_late(interaction):
            return
        chosen = ""
        if kind in {"up", "down"}:
            before = thumb_on(interaction.message) if interaction.message else ""
            chosen = "" if before == kind else kind

        async def press(location: Location) -> None:
            place = self._place_of(prompt_id, location)
            event = _pressed(kind, chosen, prompt_id, event_fields(interaction, location, place))
            await self._context.publish(event)
            if kind == "again":
                self._context.store.remember_question(interaction.id, event.user, place)
                self._typing.start(event.id, location.channel)

        row = None
        if kind in {"up", "down"}:
            row = rated_row(owner, prompt_id, chosen)
        show = partial(self._queue.acknowledgements.update_buttons, row)
        await self._queue.carry_out(interaction, press, show)

    async def on_correction(self, interaction: Interaction, said: Correction) -> None:
        """Store what somebody wrote about an answer."""
        if interaction.user.id != said.owner:
            await send_privately(interaction, "not yours")
            return

        async def store(location: Location) -> None:
            if said.reason or said.correction:
                place = self._place_of(said.prompt_id, location)
                fields = event_fields(interaction, location, place)
                words = {"reason": said.reason, "correction": said.correction}
                rate = Rate(**fields, prompt_id=said.prompt_id, thumb="down", **words)
                await self._context.publish(rate)

        await self._queue.carry_out_privately(interaction, "corrected", store)

    async def _forget(self, interaction: Interaction) -> None:
        async def forget(location: Location) -> None:
            place = place_of(location, interaction.id, "place")
            event = Forget(**event_fields(interaction, location, place))
            await self._context.publish(event)
            self._context.store.forget_person(event.user)

        await self._queue.carry_out_privately(interaction, "erasing", forget)

    def _place_of(self, prompt_id: str, location: Location) -> Place:
        """The place of the question whose answer has the button, with its current audience."""
        match = _SOURCE.match(prompt_id)
        source = int(match[1]) if match else 0
        known = self._context.store.question(source)
        return current_place_of(known.place if known else None, location, source, "place")


def _pressed(kind: str, chosen: str, prompt_id: str, fields: dict[str, Any]) -> AnyEvent:
    if kind in UNFINISHED:
        return Stop(**fields, prompt_id=prompt_id)
    if kind == "again":
        return Again(**fields, prompt_id=prompt_id)
    thumb: Any = chosen or "none"
    return Rate(**fields, prompt_id=prompt_id, thumb=thumb)
