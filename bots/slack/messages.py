"""What people write, to events on the bus: questions, follow-ups, edits, deletions, `!stop`.

Returns only when the event is stored, so that Slack is acknowledged after that; what cannot be
decided or stored now raises, and Slack delivers it again. One person's deliveries come one at a
time (`arrivals.py`). It must never log a text.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from bots.fitting import fitted
from bots.slack.api import CALL_ERRORS, code_of
from bots.slack.context import EMPTY, FORGOTTEN, HELP, TOO_LONG, Desk
from bots.slack.events import (
    Changed,
    Said,
    changed_of,
    event_id,
    is_change,
    is_written,
    said_at,
    said_of,
)
from bots.slack.files import read_files
from bots.slack.markup import mentioned, plain
from bots.slack.quotes import enclosures
from bots.slack.thread_participants import is_follow_up
from bots.slack.thread_reader import context_of
from bots.slack.workspaces import Team
from shared.connection import Unavailable
from shared.log import logger
from shared.messages import Ask, Deleted, Edited, Place, Reset, Stop
from shared.recent import RecentSet

SEEN_KEPT: Final = 2048
"""Messages that were taken. Slack delivers what it believes lost for a day, and for as long the
stream knows its id; what is known here costs nothing."""

ONLY_FORWARDED: Final = "(What is forwarded here?)"
"""The question that a forwarded message without a comment is."""

_COMMANDS: Final = frozenset({"!stop", "!reset", "!help"})


class Questions:
    """The listening to words."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._taken: RecentSet[str] = RecentSet(SEEN_KEPT)
        """Ids of messages that are stored, or were deleted before they could be stored."""
        self._untaken: RecentSet[str] = RecentSet(SEEN_KEPT)
        """Ids of messages for the bot that may not be stored: editing one asks it."""

    async def message(self, body: Mapping[str, Any]) -> None:
        """A `message` or `app_mention` event."""
        if is_change(body):
            if (changed := changed_of(body)) is not None:
                await self._change(body, changed)
        elif (said := said_of(body)) is not None:
            await self._take(body, said)
        elif is_written(body):
            logger().warning("ignored: its ids or time stamps are not like Slack's")

    # --- questions --------------------------------------------------------------------------

    async def _take(self, body: Mapping[str, Any], said: Said) -> None:
        if said.id in self._taken:
            return
        team = await self._desk.team_of(body)
        # Decided for each event by itself: one message comes as two, and only one may say whom it
        # is for.
        if not await self._addressed(team, said):
            return
        self._untaken.add(said.id)
        if await self._accept(team, said):
            self._taken.add(said.id)

    async def _accept(self, team: Team, said: Said) -> bool:
        """Whether a message for the bot is stored."""
        desk = self._desk
        place = await desk.place_of(team, said)
        refusal = await desk.refusal(team, place, said.user, said.user_team)
        if refusal is not None:
            logger().info("not allowed", prompt=said.id)
            await desk.notices.send(team, said.channel, said.user, refusal, said.thread_ts)
            return False
        words = plain(said.text, {}, without=team.bot_user)
        if words.lower() in _COMMANDS:
            return await self._obey(team, said, place, words.lower())
        if _is_empty(team, said):
            await self._tell(team, said, EMPTY)
            return False
        return await self._ask(team, said, place)

    async def _tell(self, team: Team, said: Said, words: str) -> None:
        # A notice about a message at the top is seen where there is no thread yet.
        await self._desk.notices.send(
            team, said.channel, said.user, words, said.thread_ts, about=said.version
        )

    async def _addressed(self, team: Team, said: Said) -> bool:
        """Whether a message is for the bot.

        Raises:
            Unavailable: Slack does not say now whether the bot takes part in the thread.
        """
        ours = {team.bot_user, team.bot_id} - {""}
        if said.by_slack or ours & {said.user, said.bot_id}:
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

    async def _ask(self, team: Team, said: Said, place: Place) -> bool:
        desk = self._desk
        (read, unread), (quotes, names) = await asyncio.gather(
            read_files(
                said.files, user=desk.user(team, said.user), event_id=said.id, team=team,
                session=desk.session, api_host=desk.api_host, store=desk.store,
            ),
            context_of(desk, team, said, place),
        )  # fmt: skip
        text = plain(said.text, names, without=team.bot_user)
        if not text and said.enclosed:
            text = ONLY_FORWARDED
        new: object = None
        if text or read:
            own = desk.channel_settings(place)
            try:
                ask = Ask(
                    id=said.id,
                    user=desk.user(team, said.user),
                    place=place,
                    address=desk.address(team, said.channel, said.root, said.ts, said.user),
                    said_at=said_at(said.ts),
                    text=text,
                    attachments=(*read, *(file.attachment for file in unread)),
                    quotes=(*quotes, *enclosures(said.enclosed, names)),
                    persona=own.persona,
                    model=own.model,
                )
            except ValidationError:  # its text would be in the error's own words
                await self._tell(team, said, TOO_LONG)
                return False
            desk.note_links(text, said.id)
            new = await desk.stored(
                team, fitted(ask), said.user, said.thread_ts, about=said.version
            )
            if new is None:
                return False
            desk.lookup.asked(team, said.channel, said.root, said.user)
            if new:
                desk.status.begin(team, said.channel, said.root, said.id)
        # Without a question, its author waits for an answer that cannot come.
        notices = [file.notice for file in unread if file.matters or not (text or read)]
        await asyncio.gather(*(self._tell(team, said, notice) for notice in notices))
        return new is not None

    async def _obey(self, team: Team, said: Said, place: Place, command: str) -> bool:
        """`!stop`, `!reset` and `!help`: slash commands do not work in threads."""
        desk = self._desk
        common: dict[str, Any] = {
            "id": said.id, "user": desk.user(team, said.user), "place": place,
            "said_at": said_at(said.ts),
        }  # fmt: skip
        if command == "!stop":
            new = await desk.stored(team, Stop(**common), said.user, said.thread_ts)
            desk.status.clear(team, said.channel, said.root, said.id)
            return new is not None
        words = HELP
        if command == "!reset":
            new = await desk.stored(team, Reset(**common), said.user, said.thread_ts)
            if new is None:
                return False
            words = FORGOTTEN if new else ""
        if words:
            await self._tell(team, said, words)
        return True

    # --- edits and deletions ----------------------------------------------------------------

    async def _change(self, body: Mapping[str, Any], changed: Changed) -> None:
        desk = self._desk
        old, new = changed.old, changed.new
        team = await desk.team_of(body)
        if not await self._addressed(team, old):
            if new is not None:
                await self._take(body, new)  # maybe only now it is a question
            return
        if new is None:
            await self._delete(team, changed)
        elif old.id not in self._taken and (old.id in self._untaken or _is_empty(team, old)):
            await self._take(body, new)  # nothing was asked before
        else:
            await self._edit(team, changed, new)

    async def _delete(self, team: Team, changed: Changed) -> None:
        if (common := await self._about(team, changed)) is not None:
            name = event_id(team.id, changed.old.channel, changed.old.ts, "deleted")
            await self._desk.stored(team, Deleted(id=name, **common), changed.old.user)
            # Slack may deliver the deleted question once more: it must not be asked then.
            self._taken.add(changed.old.id)

    async def _edit(self, team: Team, changed: Changed, new: Said) -> None:
        desk, old = self._desk, changed.old
        if (common := await self._about(team, changed)) is None:
            return
        name = event_id(team.id, old.channel, old.ts, "edited", changed.stamp)
        if _is_empty(team, new):
            await self._tell(team, new, EMPTY)
            return
        _, names = await context_of(desk, team, new, common["place"])
        text = plain(new.text, names, without=team.bot_user)
        again = desk.settings.edit_asks_again
        try:
            edited = Edited(id=name, text=text, ask_again=again, **common)
        except ValidationError:
            await self._tell(team, new, TOO_LONG)
            return
        await desk.stored(team, edited, old.user, old.thread_ts)

    async def _about(self, team: Team, changed: Changed) -> dict[str, Any] | None:
        """What every change says of its question; None if its author is not answered."""
        desk, old = self._desk, changed.old
        place = await desk.place_of(team, old)
        if await desk.refusal(team, place, old.user, old.user_team) is not None:
            return None
        return {
            "user": desk.user(team, old.user), "place": place, "prompt_id": old.id,
            "address": desk.address(team, old.channel, old.root, old.ts, old.user),
            "said_at": said_at(changed.stamp),
        }  # fmt: skip


def _is_empty(team: Team, said: Said) -> bool:
    """Whether a message for the bot asks nothing."""
    words = plain(said.text, {}, without=team.bot_user)
    return not words and not said.files and not said.enclosed
