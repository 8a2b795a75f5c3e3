"""What people write, to events on the bus: questions, follow-ups, edits, deletions, `!stop`.

Returns only when the event is stored, so that Slack is acknowledged after that; what cannot be
decided or stored now raises, and Slack delivers it again. It must never log a text.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from pydantic import ValidationError

from bots.seen import Seen
from bots.slack.api import CALL_ERRORS, code_of
from bots.slack.desk import EMPTY, FORGOTTEN, HELP, TOO_LONG, Desk
from bots.slack.events import Changed, Said, changed_of, event_id, said_at, said_of
from bots.slack.files import Unread, read_files
from bots.slack.quotes import quoted, quotes_of
from bots.slack.settings import ChannelSettings
from bots.slack.teams import Team
from bots.slack.text import mentioned, plain
from bots.slack.threads import is_follow_up
from shared.bus import TooLarge
from shared.connection import Unavailable
from shared.log import logger
from shared.messages import Ask, Attachment, Deleted, Edited, Place, Quote, Reset, Stop

CONTEXT_S: Final = 1.2
"""For what others said: Slack wants its acknowledgement within 3 s, the publish takes up to 2."""

SEEN_KEPT: Final = 2048
"""Messages that were taken. Slack delivers what it believes lost for a day, and for as long the
stream knows its id; what is known here costs nothing."""

DIRECT: Final = "dm"
"""Stands for all direct messages in the settings of channels."""

_COMMANDS: Final = frozenset({"!stop", "!reset", "!help"})


class Questions:
    """The listening to words."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._seen: Seen[str] = Seen(SEEN_KEPT)
        self._at_work: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def message(self, body: dict[str, Any]) -> None:
        """A `message` or `app_mention` event."""
        if (changed := changed_of(body)) is not None:
            await self._once(changed.old.id, changed.stamp, self._change(body, changed))
        elif (said := said_of(body)) is not None and said.id not in self._seen:
            await self._take(body, said)

    async def _once(self, name: str, kind: str, work: Coroutine[Any, Any, None]) -> None:
        """Joins the work on an earlier delivery that has not ended: files may take long."""
        key = (name, kind)
        task = self._at_work.get(key)
        if task is None:
            task = self._at_work[key] = asyncio.create_task(work)
            task.add_done_callback(lambda done: self._ended(key, done))
        else:
            work.close()
        await asyncio.shield(task)

    def _ended(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        self._at_work.pop(key, None)
        if not task.cancelled():
            task.exception()  # told to whoever waited for it

    async def settled(self, seconds: float) -> None:
        """Returns when what came is stored, or after so many seconds."""
        if self._at_work:
            await asyncio.wait(set(self._at_work.values()), timeout=seconds)

    # --- questions --------------------------------------------------------------------------

    async def _take(self, body: dict[str, Any], said: Said) -> None:
        desk = self._desk
        team = await desk.team_of(body)
        # Decided for each event by itself: one message comes as two, and only one may say whom it
        # is for. What follows is the same for both.
        if await self._addressed(team, said) and said.id not in self._seen:
            await self._once(said.id, "taken", self._accept(team, said))

    async def _accept(self, team: Team, said: Said) -> None:
        desk = self._desk
        refusal = await desk.refusal(team, said.channel, said.user, said.user_team)
        if refusal is not None:
            logger().info("not allowed", prompt=said.id)
            desk.tell_once(team, said.channel, said.user, refusal, _reply_in(said))
            return
        place = await desk.place(team, said.channel, said.root, said)
        words = plain(said.text, {}, without=team.bot_user)
        if words.lower() in _COMMANDS:
            await self._obey(team, said, place, words.lower())
        elif not words and not said.files:
            desk.tell_once(team, said.channel, said.user, EMPTY, _reply_in(said))
        else:
            await self._ask(team, said, place)
        self._seen.add(said.id)

    async def _addressed(self, team: Team, said: Said) -> bool:
        """Whether a message is for the bot.

        Raises:
            Unavailable: Slack does not say now whether the bot takes part in the thread.
        """
        if said.user in {team.bot_user, team.bot_id}:
            return False
        mention = said.mention or team.bot_user in mentioned(said.text)
        if said.by_bot:
            return mention and self._desk.settings.allow_bots
        if mention or said.direct:
            return True
        follow_up = self._desk.settings.follow_up
        if not said.in_thread or not is_follow_up(said.text, said.user, {said.user}, follow_up):
            return False  # whoever asked there
        try:
            askers = await self._desk.lookup.askers(team, said.channel, said.root)
        except CALL_ERRORS as error:
            if code_of(error) in {"thread_not_found", "missing_scope", "channel_not_found"}:
                return False
            raise Unavailable("Slack does not say now who is in the thread") from error
        return is_follow_up(said.text, said.user, askers, follow_up)

    async def _ask(self, team: Team, said: Said, place: Place) -> None:
        desk = self._desk
        files, (quotes, names) = await asyncio.gather(
            read_files(
                said.files, event_id=said.id, team=team, session=desk.session,
                api_host=desk.api_host, store=desk.store,
            ),
            self._context(team, said),
        )  # fmt: skip
        read, unread = files
        for file in unread:
            desk.tell(team, said.channel, said.user, file.notice, _reply_in(said))
        text = plain(said.text, names, without=team.bot_user)
        if not text and not read:
            return
        own = self._channel_settings(said)
        try:
            ask = Ask(
                id=said.id,
                user=desk.user(team, said.user),
                place=place,
                address=desk.address(team, said.channel, said.root, said.ts, said.user),
                said_at=said_at(said.ts),
                text=text,
                attachments=(*read, *map(_in_words, unread)),
                quotes=quotes,
                persona=own.persona,
                model=own.model,
            )
            desk.note_links(text, said.id)
            new = await desk.publish(ask)
        except (ValidationError, TooLarge) as error:
            # Its text would be in the error's own words.
            logger().info("too long", prompt=said.id, kind=type(error).__name__)
            desk.tell(team, said.channel, said.user, TOO_LONG, _reply_in(said))
            return
        desk.lookup.asked(team, said.channel, said.root, said.user)
        if new is not False:
            desk.status.begin(team, said.channel, said.root, said.id)

    def _channel_settings(self, said: Said) -> ChannelSettings:
        channels = self._desk.settings.channels
        return channels.get(DIRECT if said.direct else said.channel) or ChannelSettings()

    async def _context(self, team: Team, said: Said) -> tuple[tuple[Quote, ...], dict[str, str]]:
        """What others said in the thread, and the names of whom the question mentions."""
        names: dict[str, str] = {}
        try:
            async with asyncio.timeout(CONTEXT_S):
                names = await self._desk.lookup.names(team, said.text)
                if not said.in_thread or said.direct:
                    return (), names
                thread = await self._desk.lookup.thread(team, said.channel, said.root)
                found = quoted(
                    thread, asker=said.user, bot=team.bot_user, before=said.ts,
                    follow_up=self._desk.settings.follow_up,
                )  # fmt: skip
                everybody = " ".join(f"<@{user}> {text}" for user, text in found)
                named = await self._desk.lookup.names(team, everybody)
                return quotes_of(found, named), names
        except (*CALL_ERRORS, TimeoutError) as error:
            why = code_of(error) or type(error).__name__
            logger().warning("asked without the thread", prompt=said.id, why=why)
            return (), names

    async def _obey(self, team: Team, said: Said, place: Place, command: str) -> None:
        """`!stop`, `!reset` and `!help`: slash commands do not work in threads."""
        desk = self._desk
        user = desk.user(team, said.user)
        if command == "!stop":
            await desk.publish(Stop(id=said.id, user=user, place=place, said_at=said_at(said.ts)))
            desk.status.clear(team, said.channel, said.root, said.id)
            return
        new: object = True
        if command == "!reset":
            new = await desk.publish(
                Reset(id=said.id, user=user, place=place, said_at=said_at(said.ts))
            )
        if new is not False:
            words = FORGOTTEN if command == "!reset" else HELP
            desk.tell(team, said.channel, said.user, words, _reply_in(said))

    # --- edits and deletions ----------------------------------------------------------------

    async def _change(self, body: dict[str, Any], changed: Changed) -> None:
        desk = self._desk
        old, new = changed.old, changed.new
        team = await desk.team_of(body)
        if not await self._addressed(team, old):
            if new is not None and await self._addressed(team, new):
                await self._take(body, new)  # only now it is a question
            return
        if await desk.refusal(team, old.channel, old.user, old.user_team) is not None:
            return
        place = await desk.place(team, old.channel, old.root, old)
        common: dict[str, Any] = {
            "user": desk.user(team, old.user), "place": place, "prompt_id": old.id,
            "address": desk.address(team, old.channel, old.root, old.ts, old.user),
            "said_at": said_at(changed.stamp),
        }  # fmt: skip
        if new is None:
            name = event_id(team.id, old.channel, old.ts, "deleted")
            await desk.publish(Deleted(id=name, **common))
            return
        _, names = await self._context(team, new)
        text = plain(new.text, names, without=team.bot_user)
        name = event_id(team.id, old.channel, old.ts, "edited", changed.stamp)
        again = desk.settings.edit_asks_again
        try:
            await desk.publish(Edited(id=name, text=text, ask_again=again, **common))
        except (ValidationError, TooLarge):
            desk.tell(team, old.channel, old.user, TOO_LONG, _reply_in(old))


def _reply_in(said: Said) -> str:
    """The thread for a notice; one at the top of a channel is seen where there is no thread yet."""
    return said.thread_ts


def _in_words(file: Unread) -> Attachment:
    """What the model is told of a file that could not be read."""
    text = f"(this file could not be read: {file.why})"
    return Attachment(name=file.name, media_type="text/plain", text=text)
