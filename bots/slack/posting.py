"""Answers into Slack: previews, parts, and the search for what a process before this one posted.

It must never post a part anew while it does not know what became of an earlier attempt.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

from bots.platform import Forbidden, Gone, Never, Part, PostError
from bots.slack.api import CALL_ERRORS, NOTHING_THERE, code_of, ignoring, post_error
from bots.slack.desk import Desk
from bots.slack.events import is_ts
from bots.slack.live import Live
from bots.slack.new_messages import NewMessages, Spot, cannot_be_asked, messages_of
from bots.slack.notes import note_of
from bots.slack.teams import Team
from shared.log import logger
from shared.messages import Address, Partial, Reply

LIVE_KEPT: Final = 1024
"""Growing answers at a time, as the relay keeps them."""


class Posting:
    """One process's answers. Slack is asked, not this: a restart loses nothing."""

    def __init__(self, desk: Desk, now: Callable[[], float]) -> None:
        self._desk = desk
        self._now = now
        self._live: OrderedDict[str, Live] = OrderedDict()
        self._no_native: set[str] = set()
        self._new_messages = NewMessages(self._known())

    # --- previews ---------------------------------------------------------------------------

    async def show_partial(self, partial: Partial) -> None:
        """Shows an answer while it grows; what comes too early is dropped."""
        if self._desk.settings.streaming == "off" or not partial.text.strip():
            return
        address = partial.address
        if not is_ts(address.get("thread_ts", "")):
            return  # of a slash command: it has no thread to grow in
        try:
            live = self._live.get(partial.prompt_id)
            if live is None:
                team = await self._desk.teams.of(address.get("team", ""))
                allowed = self._desk.link_hosts.get(partial.prompt_id) or frozenset()
                live = Live(
                    team.client, partial.prompt_id, address, native=self._native(address),
                    known=self._known() | allowed, now=self._now,
                )  # fmt: skip
                self._keep(partial.prompt_id, live)
            await live.show(partial.text)
            if live.no_native:
                self._no_native.add(_kind(address))
        except (PostError, *CALL_ERRORS) as error:
            logger().debug("partial not shown", why=code_of(error) or type(error).__name__)

    def _native(self, address: Address) -> bool:
        mode = self._desk.settings.streaming
        if _kind(address) in self._no_native or not is_ts(address.get("thread_ts", "")):
            return False
        return mode == "native" or (mode == "auto" and address.get("channel", "").startswith("D"))

    def _known(self) -> frozenset[str]:
        return frozenset(h.strip().lower() for h in self._desk.settings.link_hosts.split(",") if h)

    def _keep(self, prompt_id: str, live: Live) -> None:
        self._live[prompt_id] = live
        while len(self._live) > LIVE_KEPT:
            self._live.popitem(last=False)

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
        if live is not None and (ts := await live.finish(part)) is not None:
            self._live.pop(prompt_id, None)
            return f"{part.reply.address['channel']}/{ts}"
        if part.index == 0:
            self._live.pop(prompt_id, None)
        return await self._new_messages.post(team, part)

    async def find_posted(self, part: Part) -> str | None:
        """The receipt of a part that stands there; an unfinished one is kept for `post`.

        Raises:
            Later: Slack does not say now.
        """
        address = part.reply.address
        channel = address.get("channel", "")
        try:
            team = await self._desk.teams.of(address.get("team", ""))
            messages = await self._messages(team, address)
        except Gone:
            return None
        except CALL_ERRORS as error:
            if code_of(error) in NOTHING_THERE:
                return None
            raise cannot_be_asked(error) from error
        begun: list[str] = []
        for message in messages:
            if message.get("user") != team.bot_user:
                continue
            note = note_of(message, team.bot_user)
            if (
                note is None
                and address.get("thread_ts")
                and is_later(message["ts"], address.get("ts"))
            ):
                begun.append(message["ts"])  # a stream has no note before its end
            elif note is not None and note.key == part.key:
                if note.final:
                    await self._ended(team, part)
                    return f"{channel}/{message['ts']}"
                self._found(team, part, message["ts"], native=False)
                return None
        if begun and part.index == 0 and self._desk.settings.streaming in {"auto", "native"}:
            self._found(team, part, begun[0], native=True)
        return None

    def _found(self, team: Team, part: Part, ts: str, *, native: bool) -> None:
        live = Live.found(team.client, part, ts, native=native, now=self._now)
        self._keep(part.reply.prompt_id, live)

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
