"""Publishes edits and deletions of questions, each after the question itself.

It must never publish anything about a message that was not a question.
"""

import asyncio
from typing import Final

from bots.discord import events
from bots.discord.audience import address_of, current_place_of, location_of, user_of
from bots.discord.context import Context
from bots.discord.errors import FAILURES
from bots.discord.events import Received
from bots.discord.messages import Messages
from bots.discord.posting import Poster
from bots.discord.wording import not_stored, notice_text
from shared.bus import OverQuota, TooLarge
from shared.log import logger
from shared.messages import Deleted, Edited, Place

EDIT_ASKS_WITHIN_S: Final = 3600.0
"""Somebody who forgot the mention adds it soon. A later edit only corrects the message."""


class Edits:
    """Publishes changes to questions that `messages` has taken or is taking."""

    def __init__(self, context: Context, messages: Messages, poster: Poster) -> None:
        self._context = context
        self._messages = messages
        self._poster = poster

    async def on_edit(self, received: Received) -> None:
        """A question was edited, or an edited message became a question."""
        context, message = self._context, received.message
        if not context.guilds_known:
            return
        if not events.is_from_person(received, context.me) or message.edited_at is None:
            return
        user = user_of(message.author.id)
        with self._messages.in_progress.handling(message.id, user):
            async with context.queues.of(user):
                if await context.question(message.id) is not None:
                    try:
                        await self._edited(received)
                    except Exception as error:  # noqa: BLE001  (any oddity in the message)
                        kind = type(error).__name__
                        logger().error("edit not understood", id=message.id, error=kind)
                        await self._messages.notify_unreadable(message)
                elif context.clock.age_s(message.id) < EDIT_ASKS_WITHIN_S:
                    await self._messages.take_now(received)

    async def _edited(self, received: Received) -> None:
        context, message = self._context, received.message
        known = await context.question(message.id)
        text = events.text_of(received, context.me)
        if known is None or not text or message.edited_at is None:
            return
        try:
            location = await context.location_of(message.channel, message.guild)
            if await context.refusal(message.author, location) is not None:
                return
        except FAILURES as error:
            logger().error("edit not taken", id=message.id, error=type(error).__name__)
            return
        answer_in = self._context.settings.answer_in
        address = address_of(location, message.id, answer_in, text)
        event = Edited(
            id=f"discord-{message.id}-e{round(message.edited_at.timestamp() * 1000)}",
            user=known.user,
            place=current_place_of(known.place, location, message.id, answer_in),
            address=address,
            said_at=message.edited_at,
            prompt_id=f"discord-{message.id}",
            text=text,
            ask_again=self._context.settings.edit_asks_again,
        )
        try:
            await context.publish(event)
        except (TooLarge, OverQuota) as error:
            key = not_stored(error)
            await self._poster.post_notice(address, notice_text(key), f"{event.id}-{key}")

    async def on_delete(self, message_ids: set[int], channel: int) -> None:
        """Messages in a channel were deleted; those that were not questions are ignored."""
        for message_id in message_ids:
            self._messages.deleted.add(message_id)
        # The messages may be from many people, who must not wait for each other.
        await asyncio.gather(*(self._one_deleted(one, channel) for one in message_ids))

    async def _one_deleted(self, message_id: int, channel: int) -> None:
        known = await self._context.question(message_id)
        user = known.user if known else self._messages.in_progress.author_of(message_id)
        if user is None:
            return
        with self._messages.in_progress.handling():
            async with self._context.queues.of(user):
                await self._deleted(message_id, channel)

    async def _deleted(self, message_id: int, channel: int) -> None:
        known = await self._context.question(message_id)
        if known is None:
            return  # it was not a question after all
        event = Deleted(
            id=f"discord-{message_id}-d",
            user=known.user,
            place=self._current_place(known.place, message_id, channel),
            said_at=self._context.clock.utcnow(),
            prompt_id=f"discord-{message_id}",
        )
        try:
            await self._context.publish(event)
        except OverQuota:
            # There is no message left to which a notice could reply.
            logger().warning("a deletion is over the quota", id=message_id)

    def _current_place(self, known: Place, message_id: int, channel: int) -> Place:
        """The question's place with its current audience, from the library's cache alone."""
        client = self._context.client
        here = client.get_channel(channel) if client is not None else None
        if here is None:  # unknown who can read it
            return known.model_copy(update={"alone": True})
        location = location_of(here, getattr(here, "guild", None), channel, self._context.me)
        return current_place_of(known, location, message_id, self._context.settings.answer_in)
