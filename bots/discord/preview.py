"""Messages that show growing answers, and how each is turned into the finished answer.

The answer either edits its preview, or is posted as a new message if the preview is old, because an
edit causes no notification and no unread mark. It must never leave both: the new message has a
nonce of its own, and a restart that finds both after a crash deletes the preview.
"""

import time
from dataclasses import dataclass
from typing import Final

import discord

from bots.discord.buttons import UNFINISHED, UNQUEUE, buttons_on
from bots.discord.channels import Channels
from bots.discord.clock import DiscordClock
from bots.discord.errors import FAILURES, post_error
from bots.discord.payloads import Json
from bots.platform import Later, Part, PostError
from bots.replace_preview import is_replaced
from shared.log import logger
from shared.messages import Address
from shared.recent import RecentMap

PREVIEWS_KEPT: Final = 2048


@dataclass(slots=True)
class Preview:
    """A message that shows a growing answer; `replaced_by` is the message that replaced it.

    `early`: a status that only says why there is no answer yet; an older answer may be posted below
    it.
    """

    channel: int
    message: int
    text: str
    at: float
    early: bool = False
    replaced_by: str = ""


class Previews:
    """The previews of this process, and those of earlier ones that were found."""

    def __init__(self, channels: Channels, clock: DiscordClock, new_message_after_s: float) -> None:
        """Replace previews that were visible for `new_message_after_s`; 0: never."""
        self._channels = channels
        self._clock = clock
        self._new_message_after_s = new_message_after_s
        self._known: RecentMap[str, Preview] = RecentMap(PREVIEWS_KEPT)
        self._early: RecentMap[str, Address] = RecentMap(PREVIEWS_KEPT)
        """Answers whose early status may have been posted although no response arrived."""

    def get(self, prompt_id: str) -> Preview | None:
        """The preview of an answer; None if there is none."""
        return self._known.get(prompt_id)

    def expect_early(self, prompt_id: str, address: Address) -> None:
        """An early status is about to be posted."""
        self._early[prompt_id] = address

    def remember(self, prompt_id: str, sent: Json) -> None:
        """Remember that a message is the preview of an answer."""
        early = any(button.kind == UNQUEUE for button in buttons_on(sent))
        self._known[prompt_id] = Preview(
            int(sent["channel_id"]), int(sent["id"]), sent["content"], time.monotonic(), early
        )
        self._early.pop(prompt_id, None)

    async def begin(self, prompt_id: str) -> Preview | None:
        """The preview in which an answer can begin; deletes an early status first.

        Raises:
            Later: it is not certain that the early status is deleted.
            discord.DiscordException: the channel's messages cannot be read.
        """
        if (address := self._early.get(prompt_id)) is not None:
            for message in await self._channels.own_messages_since(address):
                if is_preview(message, prompt_id):
                    self.remember(prompt_id, message)
            self._early.pop(prompt_id, None)
        preview = self._known.get(prompt_id)
        if preview is not None and preview.early:
            await self.delete(prompt_id)
        return self._known.get(prompt_id)

    def forget(self, prompt_id: str) -> None:
        """Forget the preview of an answer."""
        self._known.pop(prompt_id, None)

    async def complete(self, preview: Preview, part: Part, body: Json, reference: Json) -> str:
        """Replace a preview with the answer's first part, and return that message's id.

        `reference` is added if the answer becomes a new message in the question's channel.

        Raises:
            NotFound: somebody deleted the preview.
            Later: the answer is posted, but its preview is not deleted yet.
        """
        reply = part.reply
        shown_for_s = self._clock.age_s(preview.message)
        is_old = is_replaced(part, shown_for_s=shown_for_s, after_s=self._new_message_after_s)
        if is_old and not preview.replaced_by:
            here = preview.channel == int(reply.address["channel"])
            new = {**body, **reference} if here else body
            preview.replaced_by = await self._posted(preview.channel, f"{reply.prompt_id}.0+", new)
        if not preview.replaced_by:
            await self._channels.edit(preview.channel, preview.message, body)
            return str(preview.message)
        await self.delete(reply.prompt_id)
        return preview.replaced_by

    async def _posted(self, channel: int, key: str, body: Json) -> str:
        """Post the new message; returns "" if Discord refuses it, since an edit may still work."""
        try:
            return str((await self._channels.send_once(channel, body, key))["id"])
        except (discord.HTTPException, PostError) as error:
            reason = error if isinstance(error, PostError) else post_error(error)
            if isinstance(reason, Later):
                raise
            logger().warning("answer edited into its preview", why=str(reason))
            return ""

    async def delete(self, prompt_id: str) -> None:
        """Delete a preview that another message replaces.

        Raises:
            Later: it is not certain that the preview is deleted.
        """
        preview = self._known.get(prompt_id)
        if preview is None:
            return
        try:
            await self._channels.delete(preview.channel, preview.message)
        except discord.NotFound:
            pass
        except FAILURES as error:
            reason = post_error(error)
            if isinstance(reason, Later):
                # Not "maybe posted": the answer itself is posted.
                raise Later(f"the preview is not deleted yet: {reason}", reason.wait_s) from error
            logger().warning("a preview cannot be deleted", why=str(reason))
        self.forget(prompt_id)


def is_preview(message: Json, prompt_id: str) -> bool:
    """Whether a message shows an answer that is not complete yet."""
    return any(
        button.prompt == prompt_id and button.kind in UNFINISHED for button in buttons_on(message)
    )
