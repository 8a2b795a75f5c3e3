"""Posts answers in Slack: previews, parts, and the search for what an earlier process posted.

It must never post a part again before it knows the outcome of an earlier attempt.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from bots.platform import Forbidden, Gone, Never, Part, PostError
from bots.replace_preview import is_replaced
from bots.slack.api import ignoring_failures
from bots.slack.context import Context
from bots.slack.errors import (
    CALL_ERRORS,
    NOTHING_THERE,
    code_of,
    post_error,
    reason_of,
    search_error,
)
from bots.slack.ids import is_ts
from bots.slack.metadata import read_metadata
from bots.slack.origin import Origin
from bots.slack.post_message import Destination, MessagePoster, messages_at
from bots.slack.preview import Preview
from shared.log import logger
from shared.messages import Address
from shared.recent import RecentMap
from shared.replies import Partial, Reply

WITHDRAWN_WITHIN_S: Final = 30.0
"""Enough for the search and the deletion, which are at most 10 s each."""

PREVIEWS_KEPT: Final = 1024
"""Growing answers at a time, as many as the relay keeps."""


class Posting:
    """Posts the answers of one process. It can restart at any time: Slack holds the state."""

    def __init__(
        self, context: Context, now: Callable[[], float], wall: Callable[[], float] = time.time
    ) -> None:
        """`now` is a monotonic clock, `wall` is Unix time; both in seconds."""
        self._context = context
        self._now = now
        self._wall = wall
        self._previews: RecentMap[str, Preview] = RecentMap(PREVIEWS_KEPT)
        self._no_native: set[str] = set()
        hosts = context.settings.link_hosts.split(",")
        self._known = frozenset(host.strip().lower() for host in hosts if host)
        self._poster = MessagePoster(self._known)

    # --- previews ---------------------------------------------------------------------------

    async def show_partial(self, partial: Partial) -> None:
        """Shows a growing answer, or why there is no text yet. Best effort."""
        address = partial.address
        if not is_ts(address.get("thread_ts", "")):
            return  # a slash command has no thread in which its answer could grow
        try:
            workspace = await self._context.workspaces.of(address.get("team", ""))
            origin = Origin.of(workspace, address)
            if partial.text.strip():
                await self._show_text(origin, partial)
            elif partial.status:
                await self._show_status(origin, partial)
        except (PostError, *CALL_ERRORS) as error:
            logger().debug("partial not shown", why=reason_of(error))

    async def _show_text(self, origin: Origin, partial: Partial) -> None:
        self._context.working.hide_status(origin, partial.prompt_id)
        if self._context.settings.streaming == "off":
            return
        preview = self._preview_of(origin, partial)
        await preview.show(partial.text)
        if preview.no_native:
            self._no_native.add(_kind(origin))

    async def _show_status(self, origin: Origin, partial: Partial) -> None:
        """Shows a status in Slack's own line, or else in the message that becomes the answer.

        An early status needs the line, because the message must not precede an earlier answer.
        """
        working, prompt_id = self._context.working, partial.prompt_id
        if await working.show_status(origin, prompt_id, partial.status):
            return
        if self._context.settings.streaming != "off" and not partial.early:
            await self._preview_of(origin, partial).show_status(partial.status)

    def _preview_of(self, origin: Origin, partial: Partial) -> Preview:
        preview = self._previews.get(partial.prompt_id)
        if preview is None:
            linked = self._context.link_hosts.get(partial.prompt_id) or frozenset()
            preview = Preview(
                origin, partial.prompt_id, native=self._is_native(origin),
                known=self._known | linked, now=self._now,
            )  # fmt: skip
            self._keep(partial.prompt_id, preview)
        return preview

    def _is_native(self, origin: Origin) -> bool:
        mode = self._context.settings.streaming
        if _kind(origin) in self._no_native or not is_ts(origin.thread):
            return False
        return mode == "native" or (mode == "auto" and origin.channel.startswith("D"))

    def _keep(self, prompt_id: str, preview: Preview) -> None:
        self._previews[prompt_id] = preview

    # --- parts ------------------------------------------------------------------------------

    async def post(self, part: Part) -> str:
        """Posts one part; the receipt is the channel and the message's ts.

        Raises:
            PostError: what the relay does next.
        """
        address = part.reply.address
        if not address.get("channel"):
            raise Gone("the reply names no channel")
        workspace = await self._context.workspaces.of(address.get("team", ""))
        origin = Origin.of(workspace, address)
        try:
            receipt = await self._post(origin, part)
        except CALL_ERRORS as error:
            posting_error = post_error(error)
            if isinstance(posting_error, (Gone, Forbidden, Never)):
                # The rest of this reply will not be posted, so the status line must go.
                self._context.working.clear(origin, part.reply.prompt_id)
            raise posting_error from error
        await self._clear_status(origin, part)
        return receipt

    async def _clear_status(self, origin: Origin, part: Part) -> None:
        """Clears the status line after the last part, before its receipt is recorded.

        After the record, a crash would leave the line there: a recorded part is not posted again.
        """
        if part.index == part.count - 1:
            await self._context.working.cleared(origin, part.reply.prompt_id)

    async def _post(self, origin: Origin, part: Part) -> str:
        prompt_id = part.reply.prompt_id
        preview = self._previews.get(prompt_id) if part.index == 0 else None
        if preview is not None and preview.uncertain:
            # Its message may be in the thread, but we do not know its ts.
            if (found := await self.find_posted(part)) is not None:
                return found
            preview = self._previews.get(prompt_id)
            preview = None if preview is not None and preview.uncertain else preview
        if preview and self._is_replaced(preview, part) and await preview.withdraw():
            # Withdrawn before the answer is posted: a crash in between leaves no second answer,
            # and the next process posts it.
            preview = None
        if preview is not None and (ts := await preview.finish(part)) is not None:
            self._previews.pop(prompt_id, None)
            return f"{origin.channel}/{ts}"
        if part.index == 0:
            self._previews.pop(prompt_id, None)
        return await self._poster.post(origin, part)

    def _is_replaced(self, preview: Preview, part: Part) -> bool:
        """Whether the answer ends as a new message, so that Slack notifies its asker."""
        shown_for_s = preview.shown_for_s(self._wall())
        after_s = self._context.settings.new_message_after_s
        return is_replaced(part, shown_for_s=shown_for_s, after_s=after_s)

    async def find_posted(self, part: Part) -> str | None:
        """The receipt of a posted part; None if it is not there, or if `post` has to finish it.

        Raises:
            Later: Slack cannot be asked now.
        """
        address = part.reply.address
        self._context.working.expect_status(part.reply.prompt_id)
        try:
            workspace = await self._context.workspaces.of(address.get("team", ""))
            origin = Origin.of(workspace, address)
            messages = await self._messages(origin, address)
        except (Gone, Forbidden, Never):
            return None  # `post` fails in the same way, and reports it
        except CALL_ERRORS as error:
            if code_of(error) in NOTHING_THERE:
                return None
            raise search_error(error) from error
        without_metadata, unfinished = [], ""
        for message in messages:
            if message.get("user") != workspace.bot_user:
                continue
            metadata = read_metadata(message, workspace.bot_user)
            if metadata is None:
                without_metadata.append(message["ts"])
            elif metadata.key == part.key and metadata.final:
                await self._clear_status(origin, part)
                return f"{origin.channel}/{message['ts']}"
            elif metadata.key == part.key:
                unfinished = message["ts"]
        if ts := unfinished or self._stream_in(without_metadata, part):
            native = not unfinished
            prompt_id = part.reply.prompt_id
            preview = Preview.found(origin, prompt_id, ts, native=native, now=self._now)
            self._keep(prompt_id, preview)
        return None

    def _stream_in(self, without_metadata: list[str], part: Part) -> str:
        """The message that may be the part's stream, which gets its metadata only at its end."""
        address = part.reply.address
        possible = part.index == 0 and bool(address.get("thread_ts"))
        if not possible or self._context.settings.streaming not in {"auto", "native"}:
            return ""
        asked_at = float(address.get("ts") or 0)
        return next((ts for ts in without_metadata if float(ts) > asked_at), "")

    async def _messages(self, origin: Origin, address: Address) -> list[Mapping[str, Any]]:
        """The messages among which an answer may be, in order."""
        if origin.thread:
            oldest = address.get("ts") or origin.thread
            return await self._context.directory.thread(origin, oldest=oldest)
        oldest = address.get("ts") or "0"
        _, messages = await messages_at(origin, Destination(origin.channel), oldest=oldest)
        return messages

    async def withdraw(self, reply: Reply) -> None:
        """Removes what is shown of an answer. Best effort."""
        try:
            async with asyncio.timeout(WITHDRAWN_WITHIN_S):
                await self._withdraw(reply)
        except (PostError, *CALL_ERRORS) as error:
            logger().debug("not withdrawn", why=reason_of(error))

    async def _withdraw(self, reply: Reply) -> None:
        address = reply.address
        preview = self._previews.pop(reply.prompt_id, None)
        workspace = await self._context.workspaces.of(address.get("team", ""))
        origin = Origin.of(workspace, address)
        self._context.working.clear(origin, reply.prompt_id)
        if preview is not None:
            await ignoring_failures(preview.withdraw())
        for message in await self._messages(origin, address):
            metadata = read_metadata(message, workspace.bot_user)
            if metadata is not None and metadata.prompt_id == reply.prompt_id:
                await workspace.client.chat_delete(channel=origin.channel, ts=message["ts"])


def _kind(origin: Origin) -> str:
    """The workspace and the kind of channel, which decide whether native streams work."""
    return f"{origin.workspace.id}/{origin.channel[:1]}"
