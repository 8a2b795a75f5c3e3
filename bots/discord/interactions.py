"""Commands and buttons.

Discord wants an acknowledgement within 3 s, so an interaction is stored and acknowledged
concurrently. It must never obey a button below somebody else's answer.
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

from bots.discord.acknowledgement import Acknowledgements, Decided, Interaction, send_privately
from bots.discord.audience import Location, address_of, current_place_of, place_of, user_of
from bots.discord.buttons import UNFINISHED, forget_button, rated_row, thumb_on
from bots.discord.context import Context, Question
from bots.discord.corrections import Correction, form_for
from bots.discord.deferred import Placeholders
from bots.discord.errors import FAILURES
from bots.discord.mention_names import mention_names_in
from bots.discord.own_history import OwnHistory
from bots.discord.payloads import Json, dict_in
from bots.discord.quotes import quote_of
from bots.discord.rich_message import own_text
from bots.discord.thread_reader import ThreadReader
from bots.discord.wording import not_stored, notice_text
from bots.discord.working import TypingIndicator
from bots.privacy import choice_of, settings_of
from shared.bus import OverQuota, TooLarge
from shared.log import logger
from shared.messages import (
    TRAINING,
    Again,
    AnyEvent,
    Configure,
    Forget,
    Place,
    Quote,
    Rate,
    Reset,
    Stop,
)

GIVE_UP_AFTER_S: Final = 20.0
"""A command is not in Discord's history: its user is notified if it cannot be stored within this
time."""

TOO_LATE_S: Final = 4.0
"""Discord shows an interaction as failed after 3 s. Its time is known to a second."""

_SOURCE: Final = re.compile(r"discord-(?:i-)?(\d{1,20})(?:-|$)", re.ASCII)


class Interactions:
    """Publishes what people do with commands and buttons; `http` returns the REST client."""

    def __init__(
        self,
        context: Context,
        threads: ThreadReader,
        placeholders: Placeholders,
        typing: TypingIndicator,
        http: Callable[[], HTTPClient],
        *,
        own_history: OwnHistory,
    ) -> None:
        self._context = context
        self._threads = threads
        self._placeholders = placeholders
        self._typing = typing
        self._own_history = own_history
        self._acknowledgements = Acknowledgements(placeholders, http)

    # --- commands -----------------------------------------------------------------------------

    async def on_ask(
        self, interaction: Interaction, text: str, about: discord.Message | None = None
    ) -> None:
        """Take a question from a command; the answer replaces Discord's placeholder."""
        if self._came_too_late(interaction):
            return
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
        if self._came_too_late(interaction):
            return

        async def reset(location: Location) -> None:
            place = place_of(location, interaction.id, "place")
            await self._context.publish(Reset(**_event_fields(interaction, location, place)))

        await self._do(interaction, reset, partial(self._acknowledgements.reply_privately, "reset"))

    async def on_privacy(self, interaction: Interaction, training: str | None) -> None:
        """Show what is stored and why; with `on` or `off`, allow or forbid training on it."""
        choice = choice_of(f"{TRAINING} {training}")

        async def decide(location: Location) -> None:
            if choice is not None:
                place = place_of(location, interaction.id, "place")
                fields = _event_fields(interaction, location, place)
                await self._context.publish(Configure(**fields, settings=settings_of(choice)))

        key = "privacy" if choice is None else f"training {training}"
        await self._do(interaction, decide, partial(self._acknowledgements.reply_privately, key))

    async def on_forget(self, interaction: Interaction) -> None:
        """Ask whether everything about this person is to be erased."""
        locale = interaction.locale
        location = await self._location(interaction)
        if why := await self._why_not(interaction, location):
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
            return await self._why_not(interaction, await self._location(interaction))

        await self._own_history.send(interaction, refusal)

    async def on_help(self, interaction: Interaction) -> None:
        """Show what the bot can do."""

        async def nothing(_: Location) -> None:
            pass

        await self._do(
            interaction, nothing, partial(self._acknowledgements.reply_privately, "help")
        )

    # --- buttons ------------------------------------------------------------------------------

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
        if kind == "again" and self._came_too_late(interaction):
            return
        chosen = ""
        if kind in {"up", "down"}:
            before = thumb_on(interaction.message) if interaction.message else ""
            chosen = "" if before == kind else kind

        async def press(location: Location) -> None:
            place = self._place_of(prompt_id, location)
            event = _pressed(kind, chosen, prompt_id, _event_fields(interaction, location, place))
            await self._context.publish(event)
            if kind == "again":
                self._context.store.remember_question(interaction.id, event.user, place)
                self._typing.start(event.id, location.channel)

        row = None
        if kind in {"up", "down"}:
            row = rated_row(owner, prompt_id, chosen)
        await self._do(interaction, press, partial(self._acknowledgements.update_buttons, row))

    async def on_correction(self, interaction: Interaction, said: Correction) -> None:
        """Store what somebody wrote about an answer."""
        if interaction.user.id != said.owner:
            await send_privately(interaction, "not yours")
            return

        async def store(location: Location) -> None:
            if said.reason or said.correction:
                place = self._place_of(said.prompt_id, location)
                fields = _event_fields(interaction, location, place)
                words = {"reason": said.reason, "correction": said.correction}
                rate = Rate(**fields, prompt_id=said.prompt_id, thumb="down", **words)
                await self._context.publish(rate)

        reply = partial(self._acknowledgements.reply_privately, "corrected")
        await self._do(interaction, store, reply)

    async def _forget(self, interaction: Interaction) -> None:
        async def forget(location: Location) -> None:
            place = place_of(location, interaction.id, "place")
            event = Forget(**_event_fields(interaction, location, place))
            await self._context.publish(event)
            self._context.store.forget_person(event.user)

        reply = partial(self._acknowledgements.reply_privately, "erasing")
        await self._do(interaction, forget, reply)

    def _place_of(self, prompt_id: str, location: Location) -> Place:
        """The place of the question whose answer has the button, with its current audience."""
        match = _SOURCE.match(prompt_id)
        source = int(match[1]) if match else 0
        known = self._context.store.question(source)
        return current_place_of(known.place if known else None, location, source, "place")

    # --- both ---------------------------------------------------------------------------------

    async def _do(
        self,
        interaction: Interaction,
        work: Callable[[Location], Awaitable[None]],
        acknowledge: Callable[[Interaction, Decided], Awaitable[None]],
    ) -> None:
        """Run `work` in its person's queue, and acknowledge the interaction in time meanwhile.

        Whoever is not allowed to ask there is told so instead.
        """
        decided: Decided = asyncio.get_running_loop().create_future()
        acknowledging = asyncio.ensure_future(acknowledge(interaction, decided))
        self._context.clock.saw_id(interaction.id)
        try:
            # Enter the queue before awaiting anything, so that events are stored in the order
            # received.
            queue = self._context.queues.of(user_of(interaction.user.id))
            async with asyncio.timeout(GIVE_UP_AFTER_S), queue:
                location = await self._location(interaction)
                why = await self._why_not(interaction, location)
                if not why:
                    await work(location)
                decided.set_result(why)
        except (TooLarge, OverQuota) as error:
            decided.set_result(not_stored(error))
        except FAILURES as error:
            logger().error("not taken", id=interaction.id, error=type(error).__name__)
            decided.set_result("not taken")
        except Exception:  # noqa: BLE001  (the person is notified of any failure)
            logger().exception("not taken", id=interaction.id)
            decided.set_result("not taken")
        await acknowledging

    def _came_too_late(self, interaction: Interaction) -> bool:
        """Whether Discord has shown it as failed, so that its person has perhaps repeated it."""
        clock = self._context.clock
        clock.saw_id(interaction.id)
        is_late = clock.age_s(interaction.id) > TOO_LATE_S
        if is_late:
            logger().warning("ignored: Discord has shown it as failed", id=interaction.id)
        return is_late

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
            # Who installed the app for themselves can use it in direct messages with anybody.
            return replace(location, direct=False, history_is_open=False)
        return location

    async def _why_not(self, interaction: Interaction, location: Location) -> str:
        """Why this person is not allowed to ask there; empty if they are."""
        if not location.channel:
            return "not taken"  # Discord did not send the channel
        return await self._context.refusal(interaction.user, location) or ""


def _payload(interaction: Interaction, message: int) -> Json:
    """The message on which the message menu was opened, as Discord sent it."""
    data: Any = interaction.data or {}
    return dict_in(dict_in(dict_in(data.get("resolved")).get("messages")).get(str(message)))


def _pressed(kind: str, chosen: str, prompt_id: str, fields: dict[str, Any]) -> AnyEvent:
    if kind in UNFINISHED:
        return Stop(**fields, prompt_id=prompt_id)
    if kind == "again":
        return Again(**fields, prompt_id=prompt_id)
    thumb: Any = chosen or "none"
    return Rate(**fields, prompt_id=prompt_id, thumb=thumb)


def _event_fields(interaction: Interaction, location: Location, place: Place) -> dict[str, Any]:
    """The fields that all events of an interaction have."""
    return {
        "id": f"discord-i-{interaction.id}",
        "user": user_of(interaction.user.id),
        "place": place,
        "address": address_of(location, interaction.id, "place"),
        "said_at": interaction.created_at,
    }
