"""Messages that people write, to events on the bus: questions, and commands such as `!stop`.

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
from bots.slack.addressing import is_empty, is_for_bot, notice_origin, origin_of, place_of_message
from bots.slack.context import Context, Stored
from bots.slack.edits import Edits
from bots.slack.events import Message, change_in, has_text, is_change, message_in
from bots.slack.files import read_files
from bots.slack.ids import said_at
from bots.slack.markup import plain
from bots.slack.origin import Origin
from bots.slack.quotes import enclosures
from bots.slack.thread_reader import ThreadReader
from bots.slack.wording import EMPTY, FORGOTTEN, HELP, PRIVACY, TOO_LONG
from bots.slack.workspaces import Workspace
from shared.log import logger
from shared.messages import Ask, Configure, Place, Reset, Stop
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
        self._edits = Edits(context, self._threads, self._stored, self._handle)

    def register(self, app: AsyncApp) -> None:
        """Registers the listeners with Bolt."""
        app.event("message")(self.message)
        app.event("app_mention")(self.message)

    async def message(self, body: Mapping[str, Any]) -> None:
        """A `message` or `app_mention` event."""
        if is_change(body):
            if (change := change_in(body)) is not None:
                await self._edits.change(body, change)
        elif (message := message_in(body)) is not None:
            await self._handle(body, message)
        elif has_text(body):
            logger().warning("ignored: its ids or time stamps are not like Slack's")

    # --- questions --------------------------------------------------------------------------

    async def _handle(self, body: Mapping[str, Any], message: Message) -> Stored:
        if message.id in self._stored:
            return "known"
        workspace = await self._context.workspace_of(body)
        # One message can come as two events, of which only one says that it is for the bot.
        if not await is_for_bot(self._context, workspace, message):
            return "refused"
        stored = await self._accept(workspace, message)
        if stored != "refused":
            self._stored.add(message.id)
        return stored

    async def _accept(self, workspace: Workspace, message: Message) -> Stored:
        """Handles a message for the bot; "refused" if it asks nothing."""
        context = self._context
        origin = origin_of(workspace, message)
        place = await place_of_message(self._context, origin, message)
        refusal = await context.refusal(origin, place, message.user_team)
        if refusal is not None:
            logger().info("not allowed", prompt=message.id)
            await context.notices.send(notice_origin(origin, message), refusal)
            return "refused"
        words = plain(message.text, {}, without=workspace.bot_user)
        command = words.lower()
        if command in _COMMANDS or command.split()[:1] == [_PRIVACY]:
            return await self._obey(origin, message, place, command)
        if is_empty(workspace, message):
            await self._notify(origin, message, EMPTY)
            return "refused"
        return await self._ask(origin, message, place)

    async def _ask(self, origin: Origin, message: Message, place: Place) -> Stored:
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
        stored: Stored = "refused"
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
                return stored
            context.remember_links(text, message.id)
            stored = await context.store_event(
                fitted(ask), notice_origin(origin, message), about=message.version
            )
            if stored == "refused":
                return stored
            context.directory.add_asker(origin)
            if stored == "new":
                context.working.begin(origin, message.id)
        # A message with unreadable files alone asks nothing, so each file needs a notice.
        notices = [file.notice for file in unread if file.matters or not asks]
        await asyncio.gather(*(self._notify(origin, message, notice) for notice in notices))
        return stored

    async def _obey(self, origin: Origin, message: Message, place: Place, command: str) -> Stored:
        """`!stop`, `!reset`, `!privacy` and `!help`: slash commands do not work in threads."""
        context = self._context
        common: dict[str, Any] = {
            "id": message.id, "user": origin.bus_user, "place": place,
            "said_at": said_at(message.ts),
        }  # fmt: skip
        where = notice_origin(origin, message)
        if command == "!stop":
            stored = await context.store_event(Stop(**common), where)
            context.working.clear(origin, message.id)
            return stored
        words, stored = HELP, "new"
        if command == "!reset":
            stored = await context.store_event(Reset(**common), where)
            if stored == "refused":
                return stored
            words = FORGOTTEN if stored == "new" else ""
        elif command.startswith(_PRIVACY):
            words = PRIVACY
            if choice := choice_of(command.removeprefix(_PRIVACY)):
                event = Configure(**common, settings=settings_of(choice))
                stored = await context.store_event(event, where)
                if stored == "refused":
                    return stored
                words = confirmation_of(choice) if stored == "new" else ""
        if words:
            await self._notify(origin, message, words)
        return stored

    async def _notify(self, origin: Origin, message: Message, words: str) -> None:
        where = notice_origin(origin, message)
        await self._context.notices.send(where, words, about=message.version)
