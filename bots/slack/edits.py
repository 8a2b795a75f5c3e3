"""Edits and deletions of messages for the bot, each of which may come before its message.

Slack may deliver a message and its edit to different processes. What the stream has decides which
one came first, never the memory of this process. It must never log a text.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from bots.slack.addressing import (
    is_empty,
    is_for_bot,
    notice_origin,
    origin_of,
    place_of_message,
)
from bots.slack.context import Context, Stored
from bots.slack.errors import CALL_ERRORS
from bots.slack.events import Message, MessageChange
from bots.slack.ids import said_at
from bots.slack.markup import mentioned, plain
from bots.slack.origin import Origin
from bots.slack.thread_participants import is_follow_up
from bots.slack.thread_reader import ThreadReader
from bots.slack.wording import EMPTY, TOO_LONG
from bots.slack.workspaces import Workspace
from shared.connection import Unavailable
from shared.messages import Deleted, Edited
from shared.recent import RecentSet

KNOWN_FOR: Final = timedelta(hours=20)
"""The stream knows the ids of events for a day. Of an older message, it cannot say if it is stored.
"""


class Edits:
    """Handles the edits and deletions that one process gets."""

    def __init__(
        self,
        context: Context,
        threads: ThreadReader,
        known: RecentSet[str],
        ask: Callable[[Mapping[str, Any], Message], Awaitable[Stored]],
    ) -> None:
        """`known`: ids of messages that are certainly stored. `ask` asks what a message asks."""
        self._context = context
        self._threads = threads
        self._known = known
        self._ask = ask

    async def change(self, body: Mapping[str, Any], change: MessageChange) -> None:
        """Handles an edit or a deletion."""
        old, new = change.old, change.new
        workspace = await self._context.workspace_of(body)
        if not await is_for_bot(self._context, workspace, old):
            if new is not None:
                await self._ask(body, new)  # perhaps the edit made it a question
            return
        if new is None:
            await self._delete(workspace, change)
        elif not await self._is_unasked(workspace, old) or (
            await self._ask(body, new) == "known"  # another process has stored it meanwhile
        ):
            await self._edit(workspace, change, new)

    async def _is_unasked(self, workspace: Workspace, old: Message) -> bool:
        """Whether a message for the bot is not stored: it was refused, or is on its way elsewhere.

        An edit then asks it, with the new text. Another process may be about to store the old one,
        but the stream takes only one event with the message's id.

        Raises:
            Unavailable: NATS or Slack cannot be asked now.
        """
        if await self._is_stored(workspace, old):
            return False
        if old.direct or not old.in_thread or workspace.bot_user in mentioned(old.text):
            return True
        # Perhaps its author only later asked the bot to join this thread.
        origin = origin_of(workspace, old)
        try:
            askers = await self._context.directory.askers_before(origin, old.ts)
        except CALL_ERRORS as error:
            raise Unavailable("Slack cannot be asked now who was in the thread") from error
        return is_follow_up(old.text, old.user, askers, self._context.settings.follow_up)

    async def _is_stored(self, workspace: Workspace, message: Message) -> bool:
        """Whether any process has stored a message; yes if it is too old to be certain."""
        if message.id in self._known:
            return True
        if datetime.now(UTC) - said_at(message.ts) > KNOWN_FOR:
            return True
        user = origin_of(workspace, message).bus_user
        return await self._context.is_stored(user, message.id)

    async def _delete(self, workspace: Workspace, change: MessageChange) -> None:
        old = change.old
        if (common := await self._common(workspace, change)) is None:
            return
        origin = origin_of(workspace, old)
        where = origin.with_thread("")
        stored: Stored = "known"
        if not await self._is_stored(workspace, old):
            # Slack may deliver the question later, or to another process that is still reading its
            # files. With the question's own id, the deletion takes its place in the stream.
            stored = await self._context.store_event(Deleted(id=old.id, **common), where)
        if stored == "known":
            deleted = Deleted(id=origin.event_id(old.ts, "deleted"), **common)
            await self._context.store_event(deleted, where)
        self._known.add(old.id)

    async def _edit(self, workspace: Workspace, change: MessageChange, new: Message) -> None:
        old = change.old
        if (common := await self._common(workspace, change)) is None:
            return
        origin = origin_of(workspace, new)
        if is_empty(workspace, new):
            await self._notify(origin, new, EMPTY)
            return
        _, names = await self._threads.read(origin, new, common["place"])
        text = plain(new.text, names, without=workspace.bot_user)
        event_id = origin.event_id(old.ts, "edited", change.stamp)
        again = self._context.settings.edit_asks_again
        try:
            edited = Edited(id=event_id, text=text, ask_again=again, **common)
        except ValidationError:
            await self._notify(origin, new, TOO_LONG)
            return
        await self._context.store_event(edited, notice_origin(origin, old))

    async def _common(self, workspace: Workspace, change: MessageChange) -> dict[str, Any] | None:
        """The fields of an event about a changed question; None if its author is not answered."""
        old = change.old
        origin = origin_of(workspace, old)
        place = await place_of_message(self._context, origin, old)
        if await self._context.refusal(origin, place, old.user_team) is not None:
            return None
        return {
            "user": origin.bus_user, "place": place, "prompt_id": old.id,
            "address": origin.address(old.ts), "said_at": said_at(change.stamp),
        }  # fmt: skip

    async def _notify(self, origin: Origin, message: Message, words: str) -> None:
        where = notice_origin(origin, message)
        await self._context.notices.send(where, words, about=message.version)
