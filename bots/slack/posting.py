"""Answers into Slack: previews, parts, and the search for what a process before this one posted.

It must never post a part anew while it does not know what became of an earlier attempt.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from bots.platform import Forbidden, Gone, Never, Part, PostError
from bots.replace_preview import is_replaced
from bots.slack.api import CALL_ERRORS, NOTHING_THERE, code_of, ignoring, post_error
from bots.slack.context import Desk
from bots.slack.events import is_ts
from bots.slack.metadata import note_of
from bots.slack.post_message import NewMessages, Spot, cannot_be_asked, messages_of
from bots.slack.preview import Live
from bots.slack.workspaces import Team
from shared.log import logger
from shared.messages import Address, Partial, Reply
from shared.recent import RecentMap

LIVE_KEPT: Final = 1024
"""Growing answers at a time, as the relay keeps them."""


class Posting:
    """One process's answers. Slack is asked, not this: a restart loses nothing."""

    def __init__(
        self, desk: Desk, now: Callable[[], float], wall: Callable[[], float] = time.time
    ) -> None:
        """`now` is any clock that only goes forward; `wall` tells Slack's time in seconds."""
        self._desk = desk
        self._now = now
        self._wall = wall
        self._live: RecentMap[str, Live] = RecentMap(LIVE_KEPT)
        self._no_native: set[str] = set()
        self._new_messages = NewMessages(self._known())

    # --- previews ---------------------------------------------------------------------------

    async def show_partial(self, partial: Partial) -> None:
        """Shows an answer while it grows, or why it does not; what comes too early is dropped."""
        address = partial.address
        if not is_ts(address.get("thread_ts", "")):
            return  # of a slash command: it has no thread to grow in
        try:
            team = await self._desk.teams.of(address.get("team", ""))
            if partial.text.strip():
                await self._grow(team, partial)
            elif partial.status:
                await self._explain(team, partial)
        except (PostError, *CALL_ERRORS) as error:
            logger().debug("partial not shown", why=code_of(error) or type(error).__name__)

    async def _grow(self, team: Team, partial: Partial) -> None:
        channel, thread = partial.address["channel"], partial.address["thread_ts"]
        self._desk.status.unsay(team, channel, thread, partial.prompt_id)
        if self._desk.settings.streaming == "off":
            return
        live = self._live_of(team, partial)
        await live.show(partial.text)
        if live.no_native:
            self._no_native.add(_kind(partial.address))

    async def _explain(self, team: Team, partial: Partial) -> None:
        """In Slack's own line, or in the message that becomes the answer.

        That one must not come before an earlier answer, so an early status needs the line.
        """
        channel, thread = partial.address["channel"], partial.address["thread_ts"]
        status, prompt_id = self._desk.status, partial.prompt_id
        if await status.say(team, channel, thread, prompt_id, partial.status):
            return
        if self._desk.settings.streaming != "off" and not partial.early:
            await self._live_of(team, partial).explain(partial.status)

    def _live_of(self, team: Team, partial: Partial) -> Live:
        address = partial.address
        live = self._live.get(partial.prompt_id)
        if live is None:
            allowed = self._desk.link_hosts.get(partial.prompt_id) or frozenset()
            live = Live(
                team.client, partial.prompt_id, address, native=self._native(address),
                known=self._known() | allowed, now=self._now,
            )  # fmt: skip
            self._keep(partial.prompt_id, live)
        return live

    def _native(self, address: Address) -> bool:
        mode = self._desk.settings.streaming
        if _kind(address) in self._no_native or not is_ts(address.get("thread_ts", "")):
            return False
        return mode == "native" or (mode == "auto" and address.get("channel", "").startswith("D"))

    def _known(self) -> frozenset[str]:
        return frozenset(h.strip().lower() for h in self._desk.settings.link_hosts.split(",") if h)

    def _keep(self, prompt_id: str, live: Live) -> None:
        self._live[prompt_id] = live

    # --- parts ------------------------------------------------------------------------------

    async def post(self, part: Part) -> str:
        """Shows one part; the receipt is the channel and the message's ts.

        Raises:
            PostError: what the relay does next.
        """
        address = part.reply.address
        if not address.get("channel"):
            raise Gone("the reply has no channel to go to")
        team = await self._desk.teams.of(address.get("team", ""))
        try:
            receipt = await self._shown(team, part)
        except CALL_ERRORS as error:
            refused = post_error(error)
            if isinstance(refused, (Gone, Forbidden, Never)):
                # Nothing more may come of this reply, and the status line must not stay.
                self._desk.status.clear(
                    team, address["channel"], address.get("thread_ts", ""), part.reply.prompt_id
                )
            raise refused from error
        await self._ended(team, part)
        return receipt

    async def _ended(self, team: Team, part: Part) -> None:
        """Clears the status line after the last part, before anybody notes that it was shown.

        Otherwise a crash in between would leave it there: what was noted is not posted again.
        """
        if part.index == part.count - 1:
            address = part.reply.address
            channel, thread = address.get("channel", ""), address.get("thread_ts", "")
            await self._desk.status.cleared(team, channel, thread, part.reply.prompt_id)

    async def _shown(self, team: Team, part: Part) -> str:
        prompt_id = part.reply.prompt_id
        live = self._live.get(prompt_id) if part.index == 0 else None
        if live is not None and live.uncertain:
            # Its beginning may stand in the thread without our knowing where.
            if (found := await self.find_posted(part)) is not None:
                return found
            live = self._live.get(prompt_id)
            live = None if live is not None and live.uncertain else live
        if live is not None and self._is_replaced(live, part) and await live.remove():
            # Removed first, so that no crash leaves two answers: the next process finds none,
            # and posts it.
            live = None
        if live is not None and (ts := await live.finish(part)) is not None:
            self._live.pop(prompt_id, None)
            return f"{part.reply.address['channel']}/{ts}"
        if part.index == 0:
            self._live.pop(prompt_id, None)
        return await self._new_messages.post(team, part)

    def _is_replaced(self, live: Live, part: Part) -> bool:
        shown_for_s = live.shown_for_s(self._wall())
        after_s = self._desk.settings.new_message_after_s
        return is_replaced(part, shown_for_s=shown_for_s, after_s=after_s)

    async def find_posted(self, part: Part) -> str | None:
        """The receipt of a part that stands there; an unfinished one is kept for `post`.

        Raises:
            Later: Slack does not say now.
        """
        address = part.reply.address
        channel = address.get("channel", "")
        self._desk.status.doubt(part.reply.prompt_id)
        try:
            team = await self._desk.teams.of(address.get("team", ""))
            messages = await self._messages(team, address)
        except Gone:
            return None
        except CALL_ERRORS as error:
            if code_of(error) in NOTHING_THERE:
                return None
            raise cannot_be_asked(error) from error
        note_less, unfinished = [], ""
        for message in messages:
            if message.get("user") != team.bot_user:
                continue
            note = note_of(message, team.bot_user)
            if note is None:
                note_less.append(message["ts"])
            elif note.key == part.key and note.final:
                await self._ended(team, part)
                return f"{channel}/{message['ts']}"
            elif note.key == part.key:
                unfinished = message["ts"]
        native = not unfinished
        if begun := unfinished or self._stream_in(note_less, part):
            live = Live.found(team.client, part, begun, native=native, now=self._now)
            self._keep(part.reply.prompt_id, live)
        return None

    def _stream_in(self, note_less: list[str], part: Part) -> str:
        """The message that may be the part's stream, which has no note before its end."""
        address = part.reply.address
        may_be = part.index == 0 and bool(address.get("thread_ts"))
        if not may_be or self._desk.settings.streaming not in {"auto", "native"}:
            return ""
        return next((ts for ts in note_less if is_later(ts, address.get("ts"))), "")

    async def _messages(self, team: Team, address: Address) -> list[Mapping[str, Any]]:
        channel, thread = address.get("channel", ""), address.get("thread_ts", "")
        if thread:
            oldest = address.get("ts") or thread
            return await self._desk.lookup.thread(team, channel, thread, oldest=oldest)
        _, messages = await messages_of(team, Spot(channel), address)
        return messages

    async def withdraw(self, reply: Reply) -> None:
        """Takes away what was shown of an answer; best effort."""
        address = reply.address
        live = self._live.pop(reply.prompt_id, None)
        try:
            team = await self._desk.teams.of(address.get("team", ""))
            self._desk.status.clear(
                team, address.get("channel", ""), address.get("thread_ts", ""), reply.prompt_id
            )
            if live is not None:
                await ignoring(live.remove())
            for message in await self._messages(team, address):
                note = note_of(message, team.bot_user)
                if note is not None and note.prompt_id == reply.prompt_id:
                    await team.client.chat_delete(
                        channel=address.get("channel", ""), ts=message["ts"]
                    )
        except (PostError, *CALL_ERRORS) as error:
            logger().debug("not withdrawn", why=code_of(error) or type(error).__name__)


def is_later(ts: str, than: str | None) -> bool:
    """Whether a message was written after another one."""
    return float(ts) > float(than or 0)


def _kind(address: Address) -> str:
    """Native streams work, or do not, for direct messages and channels of a workspace."""
    return f"{address.get('team', '')}/{address.get('channel', '')[:1]}"
