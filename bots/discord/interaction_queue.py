"""Carries out commands, buttons and forms: each in its person's queue, with an answer in time.

Discord wants an acknowledgement within 3 s, so an interaction is stored and acknowledged
concurrently. It must never leave a person without an answer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from bots.discord.acknowledgement import Acknowledgements, Decided, Interaction
from bots.discord.audience import Location, address_of, user_of
from bots.discord.context import Context
from bots.discord.errors import FAILURES
from bots.discord.wording import not_stored
from shared.bus import OverQuota, TooLarge
from shared.log import logger
from shared.messages import Place

GIVE_UP_AFTER_S: Final = 20.0
"""A command is not in Discord's history: its user is notified if it cannot be stored within this
time."""

TOO_LATE_S: Final = 4.0
"""Discord shows an interaction as failed after 3 s. Its time is known to a second."""


class InteractionQueue:
    """The interactions of one process, in a queue for each person."""

    def __init__(self, context: Context, acknowledgements: Acknowledgements) -> None:
        self.acknowledgements = acknowledgements
        self._context = context

    async def carry_out_privately(
        self, interaction: Interaction, key: str, work: Callable[[Location], Awaitable[None]]
    ) -> None:
        """Carry out `work`, and show only this person the notice `key`, or what went wrong."""
        await self.carry_out(interaction, work, partial(self.acknowledgements.reply_privately, key))

    async def carry_out(
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
                location = await self.location(interaction)
                why = await self.why_not(interaction, location)
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

    def came_too_late(self, interaction: Interaction) -> bool:
        """Whether Discord has shown it as failed, so that its person has perhaps repeated it."""
        clock = self._context.clock
        clock.saw_id(interaction.id)
        is_late = clock.age_s(interaction.id) > TOO_LATE_S
        if is_late:
            logger().warning("ignored: Discord has shown it as failed", id=interaction.id)
        return is_late

    async def location(self, interaction: Interaction) -> Location:
        """Where it was used."""
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

    async def why_not(self, interaction: Interaction, location: Location) -> str:
        """Why this person is not allowed to ask there; empty if they are."""
        if not location.channel:
            return "not taken"  # Discord did not send the channel
        return await self._context.refusal(interaction.user, location) or ""


def event_fields(interaction: Interaction, location: Location, place: Place) -> dict[str, Any]:
    """The fields that all events of an interaction have."""
    return {
        "id": f"discord-i-{interaction.id}",
        "user": user_of(interaction.user.id),
        "place": place,
        "address": address_of(location, interaction.id, "place"),
        "said_at": interaction.created_at,
    }
