"""Posts replies on Discord: whole, once, and where they belong.

A part is posted with a nonce derived from its key, by which Discord deduplicates for some minutes;
later the part is looked for in the channel (`find_posted.py`). It must never ping anybody, nor
leave half an answer that looks complete: a preview has a cursor and a Stop button until it is
complete (`preview.py`).
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Final

import discord
from discord.http import HTTPClient

from bots.discord.audience import can_be_answered, user_id_of
from bots.discord.buttons import STOP, UNQUEUE, buttons_on, row_of
from bots.discord.channels import Channels, body_of, edit_of
from bots.discord.clock import DiscordClock
from bots.discord.deferred import Placeholders
from bots.discord.errors import FAILURES, INTERACTION_OVER, UNKNOWN_CHANNEL, post_error
from bots.discord.find_posted import find_part, wanted_part
from bots.discord.markup import downgraded
from bots.discord.payloads import Json
from bots.discord.preview import Previews, is_preview
from bots.discord.request_bodies import (
    body_of_part,
    is_outside_direct,
    is_shown,
    reference,
    reference_to,
    with_reference,
)
from bots.discord.wording import notice_text
from bots.discord.working import TypingIndicator
from bots.parts import Shape, first_part_of, parts_of
from bots.platform import Forbidden, Gone, Later, Part, PostError
from bots.split_text import utf16_length
from shared.log import logger
from shared.messages import Address
from shared.replies import Partial, Reply

SHAPE: Final = Shape(2000, parts_limit=20, text_length=utf16_length, prepared=downgraded)
"""How an answer is split into messages."""

EDIT_EVERY_S: Final = 1.2
"""Between two edits of a preview; Discord allows about 5 edits in 5 s."""

CURSOR: Final = " ▌"
PREVIEW_WITHIN_S: Final = 5.0
WITHDRAWN_WITHIN_S: Final = 30.0
POST_WITHIN_S: Final = 60.0
"""discord.py itself waits up to 30 s for a rate limit, and tries five times after a 500."""

NONCE_HOLDS_S: Final = 90.0
"""Discord says "a few minutes"; within this time a repeated post certainly returns the same
message."""


class Poster:
    """`http` returns the connected client's REST side, or raises Later; `me` is the bot's id."""

    def __init__(
        self,
        http: Callable[[], HTTPClient],
        me: Callable[[], int],
        placeholders: Placeholders,
        typing: TypingIndicator,
        clock: DiscordClock,
        *,
        new_message_after_s: float,
    ) -> None:
        self._http = http
        self._me = me
        self._clock = clock
        self._channels = Channels(http, me)
        self._placeholders = placeholders
        self._typing = typing
        self._previews = Previews(self._channels, clock, new_message_after_s)

    # --- the port -----------------------------------------------------------------------------

    async def post(self, part: Part) -> str:
        """Post one part, and return its message's id."""
        reply = part.reply
        self._typing.stop(reply.prompt_id)
        if not can_be_answered(reply.address):
            raise Gone("the reply has no address")
        try:
            async with asyncio.timeout(POST_WITHIN_S):
                receipt = await self._post_or_send_directly(part)
        except FAILURES as error:
            raise post_error(error) from error
        if part.index == part.count - 1:
            self._previews.forget(reply.prompt_id)
        return receipt

    async def show_partial(self, partial: Partial) -> None:
        """Show the first part of a growing answer, or a status while there is no text yet.

        Updates that follow an edit too soon are skipped. An early status is a message of its own,
        which is deleted before the answer begins; for a command it is shown in the placeholder.
        """
        preview = self._previews.get(partial.prompt_id)
        if not can_be_answered(partial.address):
            return
        if preview is not None and time.monotonic() - preview.at < EDIT_EVERY_S:
            return
        room = SHAPE.text_limit_chars - len(f"\n{CURSOR}")
        if not (shown := await first_part_of(SHAPE, partial.text or partial.status, room=room)):
            return
        text = shown + ("\n" if shown.endswith("`") else "") + CURSOR
        if preview is not None and preview.text == text:
            return
        is_early = partial.early and "token" not in partial.address
        button = UNQUEUE if is_early else STOP
        body = body_of(text, row_of(user_id_of(partial.user), partial.prompt_id, button))
        with suppress(*FAILURES, PostError):
            async with asyncio.timeout(PREVIEW_WITHIN_S):
                if not is_early:
                    preview = await self._previews.begin(partial.prompt_id)
                if preview is None:
                    await self._open_preview(partial, body)
                else:
                    preview.text, preview.at = text, time.monotonic()
                    await self._channels.edit(preview.channel, preview.message, body)

    async def find_posted(self, part: Part) -> str | None:
        """Find the message of a part that may have been posted; remember an unfinished preview."""
        reply = part.reply
        if not can_be_answered(reply.address):
            return None
        try:
            channels = await self._channels.messages_since(reply.address)
            if is_outside_direct(reply) and self._channels.refused_lately(
                int(reply.address["channel"])
            ):
                asker = user_id_of(reply.user)
                channels.append(await self._channels.direct_messages_since(asker, reply.address))
        except FAILURES as error:
            reason = post_error(error)
            raise reason if isinstance(reason, Later) else Later(str(reason), 1.0) from error
        wanted = wanted_part(part, await parts_of(SHAPE, reply.text))
        for _, messages in channels:
            preview = next((m for m in messages if is_preview(m, reply.prompt_id)), None)
            if preview is not None and part.index == 0:
                self._previews.remember(reply.prompt_id, preview)
            found = find_part(messages, wanted, self._me())
            if found is not None:
                # A recent part may be posted again: by its nonce, Discord returns the first one.
                if self._clock.age_s(int(found["id"])) < NONCE_HOLDS_S and not buttons_on(found):
                    return None
                if part.index == 0:
                    await self._previews.delete(reply.prompt_id)
                return str(found["id"])
        return None

    async def withdraw(self, reply: Reply) -> None:
        """Delete the preview of an answer that nobody waits for any more."""
        self._typing.stop(reply.prompt_id)
        if not can_be_answered(reply.address):
            return
        with suppress(*FAILURES, PostError):
            async with asyncio.timeout(WITHDRAWN_WITHIN_S):
                await self._withdraw(reply)

    async def _withdraw(self, reply: Reply) -> None:
        if self._previews.get(reply.prompt_id) is None:
            for message in await self._channels.own_messages_since(reply.address):
                if any(button.prompt == reply.prompt_id for button in buttons_on(message)):
                    self._previews.remember(reply.prompt_id, message)
        preview = self._previews.get(reply.prompt_id)
        self._previews.forget(reply.prompt_id)
        if preview is not None:
            await self._channels.delete(preview.channel, preview.message)
        elif await self._placeholders.is_open(reply.address):
            await self._http().request(self._placeholders.route("DELETE", reply.address))

    async def post_notice(self, address: Address, text: str, key: str) -> None:
        """Reply to a message with one of the bot's notices. Best effort."""
        body = body_of(text, []) | reference_to(address)
        with suppress(*FAILURES, PostError):
            await self._channels.send_once(int(address["channel"]), body, key)

    # --- one part -----------------------------------------------------------------------------

    async def _post_or_send_directly(self, part: Part) -> str:
        """Post a part where it belongs; if that is forbidden, as a direct message to its asker."""
        try:
            return await self._post(part)
        except discord.Forbidden as error:
            reply = part.reply
            if not isinstance(post_error(error), Forbidden) or not is_outside_direct(reply):
                raise
            logger().warning("posted as a direct message", prompt=reply.prompt_id, code=error.code)
            try:
                channel = await self._channels.direct_channel_of(user_id_of(reply.user))
                if part.index == 0:
                    here = {**reply.address, "channel": str(channel)}
                    await self.post_notice(
                        here, notice_text("elsewhere"), f"{reply.prompt_id}-elsewhere"
                    )
                return await self._post_in(channel, body_of_part(part), part.key, part)
            except discord.HTTPException as second:
                if isinstance(post_error(second), Gone | Forbidden):
                    raise error from second  # the person does not accept direct messages
                raise

    async def _post(self, part: Part) -> str:
        reply = part.reply
        body = body_of_part(part)
        key = part.key
        if part.index == 0:
            if await self._previews.begin(reply.prompt_id) is not None:
                if (receipt := await self._complete_preview(part, body)) is not None:
                    return receipt
                key += "!"
            elif (sent := await self._edit_original(reply.address, body)) is not None:
                return str(sent["id"])
        channel = await self._channels.channel_for(reply.address)
        try:
            return await self._post_in(channel, with_reference(body, part, channel), key, part)
        except discord.NotFound as error:
            own = int(reply.address["channel"])
            if error.code != UNKNOWN_CHANNEL or channel == own:
                raise
            # The thread was deleted. With the same nonce, Discord would return a message in it.
            self._channels.thread_is_gone(reply.address)
            return await self._post_in(own, with_reference(body, part, own), f"{key}!", part)

    async def _complete_preview(self, part: Part, body: Json) -> str | None:
        """Turn the preview into the answer; None if somebody deleted the preview.

        The preview's nonce would then only return the deleted message.
        """
        reply = part.reply
        if (preview := self._previews.get(reply.prompt_id)) is not None:
            with suppress(discord.NotFound):
                return await self._previews.complete(preview, part, body, reference(reply.address))
        self._previews.forget(reply.prompt_id)
        return None

    async def _post_in(self, channel: int, body: Json, key: str, part: Part) -> str:
        sent = await self._channels.send_once(channel, body, key)
        if is_shown(sent, body):
            return str(sent["id"])
        if is_preview(sent, part.reply.prompt_id):  # posted before a crash
            self._previews.remember(part.reply.prompt_id, sent)
            if (receipt := await self._complete_preview(part, body)) is not None:
                return receipt
        else:
            with suppress(discord.NotFound):
                await self._channels.edit(channel, int(sent["id"]), body)
                return str(sent["id"])
        return str((await self._channels.send_once(channel, body, f"{key}!"))["id"])

    async def _open_preview(self, partial: Partial, body: Json) -> None:
        sent = await self._edit_original(partial.address, body)
        if sent is None:
            if partial.early and "token" in partial.address:
                return  # the placeholder's token has expired
            channel = await self._channels.channel_for(partial.address)
            if channel == int(partial.address["channel"]):
                body = {**body, **reference(partial.address)}
            if partial.early:
                self._previews.expect_early(partial.prompt_id, partial.address)
            key = f"{partial.prompt_id}.{'early' if partial.early else 0}"
            sent = await self._channels.send_once(channel, body, key, preview=True)
        self._previews.remember(partial.prompt_id, sent)
        self._typing.stop(partial.prompt_id)

    # --- commands ------------------------------------------------------------------------------

    async def _edit_original(self, address: Address, body: Json) -> Json | None:
        """Replace a command's placeholder; None if there is none, or if it is too late."""
        if not await self._placeholders.is_open(address):
            return None
        try:
            route = self._placeholders.route("PATCH", address)
            sent = await self._channels.request(route, edit_of(body), int(address["channel"]))
        except discord.HTTPException as error:
            if error.code in INTERACTION_OVER or error.status == HTTPStatus.NOT_FOUND:
                await self._drop_placeholder(address)
                return None
            raise
        self._placeholders.mark_filled(address["token"])
        return sent

    async def _drop_placeholder(self, address: Address) -> None:
        placeholder = self._placeholders.message_of(address)
        if placeholder is not None:
            with suppress(*FAILURES):
                await self._channels.delete(int(address["channel"]), placeholder)
