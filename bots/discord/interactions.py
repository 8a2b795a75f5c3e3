"""Commands and buttons: what people use instead of words.

Discord wants a first answer within 3 s, so what is used is stored and acknowledged side by side. It
must never obey a button of somebody else's answer.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

import discord
from discord.http import HTTPClient

from bots.discord import events
from bots.discord.acknowledgement import Acknowledgements, Decided, Interaction, send_privately
from bots.discord.audience import Location, address_of, current_place_of, place_of
from bots.discord.buttons import UNFINISHED, row_of, thumb_on
from bots.discord.context import Context, Question
from bots.discord.deferred import Placeholders
from bots.discord.errors import FAILURES
from bots.discord.mention_names import mention_names_in
from bots.discord.message_parts import dict_in
from bots.discord.payloads import Json
from bots.discord.quotes import quote_of
from bots.discord.rich_message import own_text
from bots.discord.wording import not_stored, notice_text
from bots.discord.working import TypingIndicator
from shared.bus import OverQuota, TooLarge
from shared.log import logger
from shared.messages import Again, AnyEvent, Place, Quote, Rate, Reset, Stop

GIVE_UP_AFTER_S: Final = 20.0
"""A command is not in Discord's history: what cannot be stored is told to the person."""

_SOURCE: Final = re.compile(r"discord-(?:i-)?(\d{1,20})(?:-|$)", re.ASCII)

TAKEN: Final = ""


class Interactions:
    """What commands and buttons do."""

    def __init__(
        self,
        context: Context,
        placeholders: Placeholders,
        typing: TypingIndicator,
        http: Callable[[], HTTPClient],
    ) -> None:
        self._context = context
        self._placeholders = placeholders
        self._typing = typing
        self._acknowledgements = Acknowledgements(placeholders, http)

    # --- commands -----------------------------------------------------------------------------

    async def on_ask(
        self, interaction: Interaction, text: str, about: discord.Message | None = None
    ) -> None:
        """A question by command: answered where Discord shows a placeholder."""
        self._placeholders.expect(interaction)
        notes: list[str] = []
        ask = partial(self._ask, interaction, text, about, notes)
        await self._do(interaction, ask, self._acknowledgements.show_placeholder)
        for key in notes:
            with suppress(*FAILURES):
                await interaction.followup.send(
                    notice_text(key, interaction.locale), ephemeral=True
                )

    async def _ask(
        self, interaction: Interaction, text: str, about: discord.Message | None, notes: list[str]
    ) -> str:
        location = await self._location(interaction)
        if why := await self._why_not(interaction, location):
            return why
        mention_names = mention_names_in(interaction.channel, interaction.guild)
        quotes: tuple[Quote, ...] = ()
        if about is not None:
            quotes = (quote_of(_payload(interaction, about.id), mention_names, self._context.me),)
        question = Question(
            interaction.id,
            f"discord-i-{interaction.id}",
            interaction.user.id,
            location,
            own_text({"content": text}, mention_names),
            quotes=quotes,
            files=(about,) if about is not None else (),
            quoted=about.id if about is not None else 0,
            mention_names=mention_names,
        )
        # What is used in a channel opens no thread.
        ask, full = await self._context.ask(question, "place")
        address = self._placeholders.address_for(interaction, ask.address)
        ask = ask.model_copy(update={"address": address})
        await self._context.publish(ask)
        self._context.remember_question(interaction.id, ask.user, ask.place)
        if full:
            notes.append("no room")
        return TAKEN

    async def on_reset(self, interaction: Interaction) -> None:
        """Forgets what could be recalled here."""

        async def reset() -> str:
            location = await self._location(interaction)
            if why := await self._why_not(interaction, location):
                return why
            place = place_of(location, interaction.id, "place")
            await self._context.publish(Reset(**_head(interaction, location, place)))
            return TAKEN

        await self._do(interaction, reset, partial(self._acknowledgements.reply_privately, "reset"))

    async def on_help(self, interaction: Interaction) -> None:
        """Says what can be done."""

        async def allowed() -> str:
            return await self._why_not(interaction, await self._location(interaction))

        await self._do(
            interaction, allowed, partial(self._acknowledgements.reply_privately, "help")
        )

    # --- buttons ------------------------------------------------------------------------------

    async def on_press(
        self, interaction: Interaction, kind: str, owner: int, prompt_id: str
    ) -> None:
        """Obeys the person who asked."""
        if interaction.user.id != owner:
            await send_privately(interaction, "not yours")
            return
        chosen = ""
        if kind in {"up", "down"}:
            before = thumb_on(interaction.message) if interaction.message else ""
            chosen = "" if before == kind else kind

        async def press() -> str:
            location = await self._location(interaction)
            if why := await self._why_not(interaction, location):
                return why
            place = self._place_of(prompt_id, location)
            event = _pressed(kind, chosen, prompt_id, _head(interaction, location, place))
            await self._context.publish(event)
            if kind == "again":
                self._context.remember_question(interaction.id, event.user, place)
                self._typing.start(event.id, location.channel)
            return TAKEN

        row = None
        if kind in {"up", "down"}:
            row = row_of(owner, prompt_id, "again", "up", "down", chosen=chosen)
        await self._do(interaction, press, partial(self._acknowledgements.update_buttons, row))

    def _place_of(self, prompt_id: str, location: Location) -> Place:
        """The place of the question whose answer has the button, with the audience of now."""
        match = _SOURCE.match(prompt_id)
        source = int(match[1]) if match else 0
        known = self._context.asker_of(source)
        return current_place_of(known[1] if known else None, location, source, "place")

    # --- both ---------------------------------------------------------------------------------

    async def _do(
        self,
        interaction: Interaction,
        work: Callable[[], Awaitable[str]],
        acknowledge: Callable[[Interaction, Decided], Awaitable[None]],
    ) -> None:
        """Does something in its person's queue, and acknowledges it in time meanwhile."""
        decided: Decided = asyncio.get_running_loop().create_future()
        acknowledging = asyncio.ensure_future(acknowledge(interaction, decided))
        self._context.clock.saw_id(interaction.id)
        try:
            # Entered before anything is waited for: who comes first is stored first.
            queue = self._context.queues.of(events.user_of(interaction.user.id))
            async with asyncio.timeout(GIVE_UP_AFTER_S), queue:
                decided.set_result(await work())
        except (TooLarge, OverQuota) as error:
            decided.set_result(not_stored(error))
        except FAILURES as error:
            logger().error("not taken", id=interaction.id, error=type(error).__name__)
            decided.set_result("not taken")
        except Exception:  # noqa: BLE001  (the person is told, whatever it is)
            logger().exception("not taken", id=interaction.id)
            decided.set_result("not taken")
        await acknowledging

    async def _location(self, interaction: Interaction) -> Location:
        channel: Any = interaction.channel
        if channel is None and interaction.message is not None:
            channel = interaction.message.channel
        location = await self._context.location_of(channel, interaction.guild)
        if interaction.guild_id is not None and location.guild is None:
            return replace(
                location, guild=interaction.guild_id, direct=False, history_is_open=False
            )
        if location.direct and not interaction.context.dm_channel:
            # Somebody else's direct messages, in which the app was used by its own user alone.
            return replace(location, direct=False, history_is_open=False)
        return location

    async def _why_not(self, interaction: Interaction, location: Location) -> str:
        """Why this person may not ask there; empty: may."""
        if not location.channel:
            return "not taken"  # Discord did not say where
        return await self._context.refusal(interaction.user, location) or ""


def _payload(interaction: Interaction, message: int) -> Json:
    """The message of the message menu, as Discord sent it."""
    data: Any = interaction.data or {}
    return dict_in(dict_in(dict_in(data.get("resolved")).get("messages")).get(str(message)))


def _pressed(kind: str, chosen: str, prompt_id: str, head: dict[str, Any]) -> AnyEvent:
    if kind in UNFINISHED:
        return Stop(**head, prompt_id=prompt_id)
    if kind == "again":
        return Again(**head, prompt_id=prompt_id)
    thumb: Any = chosen or "none"
    return Rate(**head, prompt_id=prompt_id, thumb=thumb)


def _head(interaction: Interaction, location: Location, place: Place) -> dict[str, Any]:
    return {
        "id": f"discord-i-{interaction.id}",
        "user": events.user_of(interaction.user.id),
        "place": place,
        "address": address_of(location, interaction.id, "place"),
        "said_at": interaction.created_at,
    }
