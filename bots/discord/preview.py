"""Messages that show growing answers, and how the answer takes the place of each.

An answer ends as an edit of its preview, or as a new message if the preview is an old one: an edit
gives no notification and no unread button. It must never leave an answer together with its preview:
the new message has a nonce of its own, and whoever finds both after a crash removes the preview.
"""

import time
from collections import OrderedDict
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

PREVIEWS_KEPT: Final = 2048


@dataclass(slots=True)
class Preview:
    """A message that shows a growing answer; `replaced_by` is the one that took its place.

    `early`: it only says why there is no answer, and an older answer may come below it.
    """

    channel: int
    message: int
    text: str
    at: float
    early: bool = False
    replaced_by: str = ""


class Previews:
    """Those of this process, and those of earlier ones that it found."""

    def __init__(self, channels: Channels, clock: DiscordClock, new_message_after_s: float) -> None:
        """A preview that was shown for `new_message_after_s` is replaced; 0: never."""
        self._channels = channels
        self._clock = clock
        self._new_message_after_s = new_message_after_s
        self._known: OrderedDict[str, Preview] = OrderedDict()
        self._early: OrderedDict[str, Address] = OrderedDict()
        """Answers with an early message that Discord may have taken without notice_text so."""

    def get(self, prompt_id: str) -> Preview | None:
        """The preview of an answer."""
        return self._known.get(prompt_id)

    def expect_early(self, prompt_id: str, address: Address) -> None:
        """An early message is about to be posted."""
        self._early[prompt_id] = address
        while len(self._early) > PREVIEWS_KEPT:
            self._early.popitem(last=False)

    def remember(self, prompt_id: str, sent: Json) -> None:
        """Remembers the message that is one."""
        early = any(button.kind == UNQUEUE for button in buttons_on(sent))
        self._known[prompt_id] = Preview(
            int(sent["channel_id"]), int(sent["id"]), sent["content"], time.monotonic(), early
        )
        self._early.pop(prompt_id, None)
        while len(self._known) > PREVIEWS_KEPT:
            self._known.popitem(last=False)

    async def begin(self, prompt_id: str) -> Preview | None:
        """The preview of an answer that may begin now: an early one is deleted.

        Raises:
            Later: it is not certain that an early one is gone.
            discord.DiscordException: Discord does not say what it has taken.
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
        """Forgets it."""
        self._known.pop(prompt_id, None)

    async def complete(self, preview: Preview, part: Part, body: Json, reference: Json) -> str:
        """Puts an answer's first part in the place of its preview, and returns its message.

        `reference` is added to a new message that is posted where the question is.

        Raises:
            NotFound: somebody deleted the preview.
            Later: the answer is there, but its preview is not deleted yet.
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
        """The new message; empty if Discord refuses it, though it may still take an edit."""
        try:
            return str((await self._channels.send_once(channel, body, key))["id"])
        except (discord.HTTPException, PostError) as error:
            told = error if isinstance(error, PostError) else post_error(error)
            if isinstance(told, Later):
                raise
            logger().warning("the answer stays in its preview", why=str(told))
            return ""

    async def delete(self, prompt_id: str) -> None:
        """Deletes a preview whose answer is another message.

        Raises:
            Later: it is not certain that it is gone.
        """
        preview = self._known.get(prompt_id)
        if preview is None:
            return
        try:
            await self._channels.delete(preview.channel, preview.message)
        except discord.NotFound:
            pass
        except FAILURES as error:
            told = post_error(error)
            if isinstance(told, Later):
                # Not "maybe posted": nothing is wrong with the answer, which is there.
                raise Later(f"the preview is not deleted: {told}", told.wait_s) from error
            logger().warning("a preview is out of reach", why=str(told))
        self.forget(prompt_id)


def is_preview(message: Json, prompt_id: str) -> bool:
    """Whether a message shows an answer that is not complete."""
    return any(
        button.prompt == prompt_id and button.kind in UNFINISHED for button in buttons_on(message)
    )
