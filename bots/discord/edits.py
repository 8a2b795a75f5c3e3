"""Edits and deletions of questions, each after the question itself.

It must never publish anything about a message that was not a question.
"""

import asyncio
from typing import Final

from bots.discord import events
from bots.discord.audience import address_of, current_place_of, location_of
from bots.discord.context import Context
from bots.discord.errors import FAILURES
from bots.discord.events import Received
from bots.discord.messages import Messages
from bots.discord.posting import Poster
from bots.discord.settings import DiscordSettings
from bots.discord.wording import not_stored, notice_text
from shared.bus import OverQuota, TooLarge
from shared.log import logger
from shared.messages import Deleted, Edited, Place

EDIT_ASKS_WITHIN_S: Final = 3600.0
"""Somebody who forgot the mention adds it soon; later an edit is only a correction."""


class Edits:
    """Publishes what became of questions that `listening` took or is taking."""

    def __init__(
        self, settings: DiscordSettings, context: Context, listening: Messages, poster: Poster
    ) -> None:
        self._settings = settings
        self._context = context
        self._messages = listening
        self._poster = poster

    async def on_edit(self, received: Received) -> None:
        """A question changed, or a message became one."""
        context, message = self._context, received.message
        if context.client is None or not context.client.guilds_known:
            return
        if not events.is_from_person(received, context.me) or message.edited_at is None:
            return
        user = events.user_of(message.author.id)
        with self._messages.in_progress.handling(message.id, user):
            async with context.queues.of(user):
                if context.asker_of(message.id) is not None:
                    try:
                        await self._edited(received)
                    except Exception as error:  # noqa: BLE001  (whatever is strange about it)
                        kind = type(error).__name__
                        logger().error("edit not understood", id=message.id, error=kind)
                        await self._messages.say_unreadable(message)
                elif context.clock.age_s(message.id) < EDIT_ASKS_WITHIN_S:
                    await self._messages.take_now(received)

    async def _edited(self, received: Received) -> None:
        context, message = self._context, received.message
        known = context.asker_of(message.id)
        text = events.text_of(received, context.me)
        if known is None or not text or message.edited_at is None:
            return
        user, place = known
        try:
            location = await context.location_of(message.channel, message.guild)
            if await context.refusal(message.author, location) is not None:
                return
        except FAILURES as error:
            logger().error("edit not taken", id=message.id, error=type(error).__name__)
            return
        answer_in = self._settings.answer_in
        address = address_of(location, message.id, answer_in, text)
        event = Edited(
            id=f"discord-{message.id}-e{round(message.edited_at.timestamp() * 1000)}",
            user=user,
            place=current_place_of(place, location, message.id, answer_in),
            address=address,
            said_at=message.edited_at,
            prompt_id=f"discord-{message.id}",
            text=text,
            ask_again=self._settings.answer_edits,
        )
        try:
            await context.publish(event)
        except (TooLarge, OverQuota) as error:
            key = not_stored(error)
            await self._poster.post_notice(address, notice_text(key), f"{event.id}-{key}")

    async def on_delete(self, message_ids: set[int], channel: int) -> None:
        """Questions in a channel were withdrawn; of other messages nothing is known."""
        for message_id in message_ids:
            self._messages.deleted.add(message_id)
        # Of many people, who must not wait for each other.
        await asyncio.gather(*(self._one_deleted(one, channel) for one in message_ids))

    async def _one_deleted(self, message_id: int, channel: int) -> None:
        known = self._context.asker_of(message_id)
        user = known[0] if known else self._messages.in_progress.author_of(message_id)
        if user is None:
            return
        with self._messages.in_progress.handling():
            async with self._context.queues.of(user):
                await self._deleted(message_id, channel)

    async def _deleted(self, message_id: int, channel: int) -> None:
        known = self._context.asker_of(message_id)
        if known is None:
            return  # it was no question after all
        user, place = known
        event = Deleted(
            id=f"discord-{message_id}-d",
            user=user,
            place=self._place_now(place, message_id, channel),
            said_at=self._context.clock.utcnow(),
            prompt_id=f"discord-{message_id}",
        )
        try:
            await self._context.publish(event)
        except OverQuota:
            # Nobody can be told below a message that is gone.
            logger().warning("a deletion is over the quota", id=message_id)

    def _place_now(self, known: Place, message_id: int, channel: int) -> Place:
        """The question's place with its current audience, from the library's cache alone."""
        client = self._context.client
        here = client.get_channel(channel) if client is not None else None
        if here is None:  # nothing says who can read it
            return known.model_copy(update={"alone": True})
        location = location_of(here, getattr(here, "guild", None), channel, self._context.me)
        return current_place_of(known, location, message_id, self._settings.answer_in)
