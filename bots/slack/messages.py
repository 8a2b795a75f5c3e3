"""Messages that people write, to events on the bus: questions, edits, deletions, `!stop`.

A listener returns only when the event is stored, and Slack's delivery is acknowledged after that.
What cannot be decided or stored now raises, and Slack delivers it again. It relies on getting one
person's deliveries one at a time (`deliveries.py`), and must never log a text.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError
from slack_bolt.async_app import AsyncApp

from bots.fitting import fitted
from bots.privacy import choice_of, confirmation_of, settings_of
from bots.slack.context import Context
from bots.slack.errors import CALL_ERRORS, code_of
from bots.slack.events import Message, MessageChange, change_in, has_text, is_change, message_in
from bots.slack.files import read_files
from bots.slack.ids import said_at
from bots.slack.markup import mentioned, plain
from bots.slack.origin import Origin
from bots.slack.quotes import enclosures
from bots.slack.thread_participants import is_follow_up
from bots.slack.thread_reader import ThreadReader
from bots.slack.wording import EMPTY, FORGOTTEN, HELP, PRIVACY, TOO_LONG
from bots.slack.workspaces import Workspace
from shared.connection import Unavailable
from shared.log import logger
from shared.messages import Ask, Configure, Deleted, Edited, Place, Reset, Stop
from shared.recent import RecentSet

SEEN_KEPT: Final = 2048
"""Messages to remember. Slack redelivers a message for up to a day; the stream drops duplicates for
as long, but one that is remembered here costs no call."""

ONLY_FORWARDED: Final = "(What is forwarded here?)"
"""The question that a forwarded message without a comment asks."""

_COMMANDS: Final = frozenset({"!stop", "!reset", "!help"})
_PRIVACY: Final = "!privacy"
"""The only command with arguments."""


class Messages:
    """Listens to what people write."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._threads = ThreadReader(context.directory, context.settings.follow_up)
        self._stored: RecentSet[str] = RecentSet(SEEN_KEPT)
        """Ids of messages that are stored, or were deleted before they could be."""
        self._not_stored: RecentSet[str] = RecentSet(SEEN_KEPT)
        """Ids of messages for the bot that may not be stored yet: an edit of one asks it."""

    def register(self, app: AsyncApp) -> None:
        """Registers the listeners with Bolt."""
        app.event("message")(self.message)
        app.event("app_mention")(self.message)

    async def message(self, body: Mapping[str, Any]) -> None:
        """A `message` or `app_mention` event."""
        if is_change(body):
            if (change := change_in(body)) is not None:
                await self._change(body, change)
        elif (message := message_in(body)) is not None:
            await self._handle(body, message)
        elif has_text(body):
            logger().warning("ignored: its ids or time stamps are not like Slack's")

    # --- questions --------------------------------------------------------------------------

    async def _handle(self, body: Mapping[str, Any], message: Message) -> None:
        if message.id in self._stored:
            return
        workspace = await self._context.workspace_of(body)
        # One message can come as two events, of which only one says that it is for the bot.
        if not await self._is_for_bot(workspace, message):
            return
        self._not_stored.add(message.id)
        if await self._accept(workspace, message):
            self._stored.add(message.id)

    async def _accept(self, workspace: Workspace, message: Message) -> bool:
        """Handles a message for the bot; returns whether it is stored."""
        context = self._context
        origin = _origin_of(workspace, message)
        place = await self._place(origin, message)
        refusal = await context.refusal(origin, place, message.user_team)
        if refusal is not None:
            logger().info("not allowed", prompt=message.id)
            await context.notices.send(_notice_origin(origin, message), refusal)
            return False
        words = plain(message.text, {}, without=workspace.bot_user)
        command = words.lower()
        if command in _COMMANDS or command.split()[:1] == [_PRIVACY]:
            return await self._obey(origin, message, place, command)
        if _is_empty(workspace, message):
            await self._notify(origin, message, EMPTY)
            return False
        return await self._ask(origin, message, place)

    async def _place(self, origin: Origin, message: Message) -> Place:
        # The bot only gets direct messages of its own conversations.
        is_direct = message.channel_type == "im"
        return await self._context.place(origin, direct=is_direct, external=message.external)

    async def _is_for_bot(self, workspace: Workspace, message: Message) -> bool:
        """Whether a message is for the bot.

        Raises:
            Unavailable: Slack cannot be asked now whether the bot takes part in the thread.
        """
        ours = {workspace.bot_user, workspace.bot_id} - {""}
        if message.by_slack or ours & {message.user, message.bot_id}:
            return False
        mention = message.mention or workspace.bot_user in mentioned(message.text)
        if message.by_bot:
            return mention and self._context.settings.allow_bots
        if mention or message.direct:
            return True
        follow_up, user = self._context.settings.follow_up, message.user
        if not message.in_thread or not is_follow_up(message.text, user, {user}, follow_up):
            return False  # not even if this user asked the bot there
        try:
            askers = await self._context.directory.askers(_origin_of(workspace, message))
        except CALL_ERRORS as error:
            if code_of(error) in {"thread_not_found", "missing_scope", "channel_not_found"}:
                return False
            raise Unavailable("Slack cannot be asked now who is in the thread") from error
        return is_follow_up(message.text, user, askers, follow_up)

    async def _ask(self, origin: Origin, message: Message, place: Place) -> bool:
        context = self._context
        (read, unread), (quotes, names) = await asyncio.gather(
            read_files(
                message.files, user=origin.bus_user, event_id=message.id,
                workspace=origin.workspace, session=context.session, api_host=context.api_host,
                store=context.store_file,
            ),
            self._threads.read(origin, message, place),
        )  # fmt: skip
        text = plain(message.text, names, without=origin.workspace.bot_user)
        if not text and message.enclosed:
            text = ONLY_FORWARDED
        asks = bool(text or read)
        if asks:
            own = context.channel_settings(place)
            try:
                ask = Ask(
                    id=message.id,
                    user=origin.bus_user,
                    place=place,
                    address=origin.address(message.ts),
                    said_at=said_at(message.ts),
                    text=text,
                    attachments=(*read, *(file.attachment for file in unread)),
                    quotes=(*quotes, *enclosures(message.enclosed, names)),
                    persona=own.persona,
                    model=own.model,
                    roles=await context.roles(origin, message.user_team),
                )
            except ValidationError:  # never logged: it holds the text
                await self._notify(origin, message, TOO_LONG)
                return False
            context.remember_links(text, message.id)
            stored = await context.store_event(
                fitted(ask), _notice_origin(origin, message), about=message.version
            )
            if stored == "refused":
                return False
            context.directory.add_asker(origin)
            if stored == "new":
                context.working.begin(origin, message.id)
        # A message with unreadable files alone asks nothing, so each file needs a notice.
        notices = [file.notice for file in unread if file.matters or not asks]
        await asyncio.gather(*(self._notify(origin, message, notice) for notice in notices))
        return asks

    async def _obey(self, origin: Origin, message: Message, place: Place, command: str) -> bool:
        """`!stop`, `!reset`, `!privacy` and `!help`: slash commands do not work in threads."""
        context = self._context
        common: dict[str, Any] = {
            "id": message.id, "user": origin.bus_user, "place": place,
            "said_at": said_at(message.ts),
        }  # fmt: skip
        notice_origin = _notice_origin(origin, message)
        if command == "!stop":
            stored = await context.store_event(Stop(**common), notice_origin)
            context.working.clear(origin, message.id)
            return stored != "refused"
        words = HELP
        if command == "!reset":
            stored = await context.store_event(Reset(**common), notice_origin)
            if stored == "refused":
                return False
            words = FORGOTTEN if stored == "new" else ""
        elif command.startswith(_PRIVACY):
            words = PRIVACY
            if choice := choice_of(command.removeprefix(_PRIVACY)):
                event = Configure(**common, settings=settings_of(choice))
                stored = await context.store_event(event, notice_origin)
                if stored == "refused":
                    return False
                words = confirmation_of(choice) if stored == "new" else ""
        if words:
            await self._notify(origin, message, words)
        return True

    # --- edits and deletions ----------------------------------------------------------------

    async def _change(self, body: Mapping[str, Any], change: MessageChange) -> None:
        old, new = change.old, change.new
        workspace = await self._context.workspace_of(body)
        if not await self._is_for_bot(workspace, old):
            if new is not None:
                await self._handle(body, new)  # perhaps the edit made it a question
            return
        if new is None:
            await self._delete(workspace, change)
        elif old.id not in self._stored and (
            old.id in self._not_stored or _is_empty(workspace, old)
        ):
            await self._handle(body, new)  # the old text was never asked
        else:
            await self._edit(workspace, change, new)

    async def _delete(self, workspace: Workspace, change: MessageChange) -> None:
        old = change.old
        if (common := await self._common(workspace, change)) is not None:
            origin = _origin_of(workspace, old)
            deleted = Deleted(id=origin.event_id(old.ts, "deleted"), **common)
            await self._context.store_event(deleted, origin.with_thread(""))
            # Slack may redeliver the deleted question, which must not be asked then.
            self._stored.add(old.id)

    async def _edit(self, workspace: Workspace, change: MessageChange, new: Message) -> None:
        old = change.old
        if (common := await self._common(workspace, change)) is None:
            return
        origin = _origin_of(workspace, new)
        if _is_empty(workspace, new):
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
        await self._context.store_event(edited, _notice_origin(origin, old))

    async def _common(self, workspace: Workspace, change: MessageChange) -> dict[str, Any] | None:
        """The fields of an event about a changed question; None if its author is not answered."""
        old = change.old
        origin = _origin_of(workspace, old)
        place = await self._place(origin, old)
        if await self._context.refusal(origin, place, old.user_team) is not None:
            return None
        return {
            "user": origin.bus_user, "place": place, "prompt_id": old.id,
            "address": origin.address(old.ts), "said_at": said_at(change.stamp),
        }  # fmt: skip

    async def _notify(self, origin: Origin, message: Message, words: str) -> None:
        notice_origin = _notice_origin(origin, message)
        await self._context.notices.send(notice_origin, words, about=message.version)


def _origin_of(workspace: Workspace, message: Message) -> Origin:
    return Origin(workspace, message.channel, message.user, message.root)


def _notice_origin(origin: Origin, message: Message) -> Origin:
    """Where a notice about a message is seen: a message at the top may have no thread yet."""
    return origin.with_thread(message.thread_ts)


def _is_empty(workspace: Workspace, message: Message) -> bool:
    """Whether a message for the bot asks nothing."""
    words = plain(message.text, {}, without=workspace.bot_user)
    return not words and not message.files and not message.enclosed
