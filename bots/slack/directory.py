"""What Slack knows about people, channels and threads, remembered for a while.

It must never take long: what is asked for here stands between a question and its storage.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bots.slack.access import NOBODY, Person, person_of
from bots.slack.api import CALL_ERRORS, code_of, lacks_method
from bots.slack.audience import UNKNOWN, Channel, channel_of
from bots.slack.events import is_ts
from bots.slack.markup import mentioned, unnamed_channels
from bots.slack.payloads import mapping, mappings, text
from bots.slack.thread_participants import asker_of
from bots.slack.workspaces import Team
from shared.recent import FreshMap

NOT_THERE_S: Final = 30.0
"""A thread or a channel without the bot is believed to be so for this long at most."""

CHANNEL_S: Final = 300.0
"""Who can read a channel changes without an event: it is opened, closed or shared."""

PAGE: Final = 999
"""The most that both conversations.history and conversations.replies give in one call."""

PAGES: Final = 3
"""The newest of a thread are on its last page; beyond these pages it is not read."""

NAMES: Final = 50
"""Names to look up for one message; nobody mentions more people by hand."""


CHANNELS: Final = 10
"""The same for channels."""


class Lookup:
    """Asks Slack once, and remembers. Raises what the client raises."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._people: FreshMap[Person] = FreshMap(now)
        self._channels: FreshMap[Channel] = FreshMap(now, seconds=CHANNEL_S)
        self._askers: FreshMap[tuple[str, ...]] = FreshMap(now)  # half of a set's room
        self._not_there: FreshMap[bool] = FreshMap(now, seconds=NOT_THERE_S)

    async def person(self, team: Team, user: str) -> Person:
        """Who this is; `NOBODY` where Slack knows nobody or may not say."""
        known = self._people.get(team.id, user)
        if known is not None:
            return known
        try:
            response = await team.client.users_info(user=user)
            found = person_of(mapping(response.data, "user"))
        except SlackApiError as error:
            if code_of(error) not in {"user_not_found", "user_not_visible", "missing_scope"}:
                raise
            found = NOBODY
        self._people.put(found, team.id, user)
        return found

    async def name(self, team: Team, user: str) -> str:
        """How people call a user; the id where nobody knows."""
        return (await self.person(team, user)).called or user

    async def names(self, team: Team, said: str) -> dict[str, str]:
        """The names of users and channels that a message mentions, but for the bot's own."""
        users = sorted(mentioned(said) - {team.bot_user})[:NAMES]
        channels = sorted(unnamed_channels(said))[:CHANNELS]
        found = {user: await self.name(team, user) for user in users}
        return found | {one: await self._channel_name(team, one) for one in channels}

    async def _channel_name(self, team: Team, channel: str) -> str:
        try:
            return (await self.channel(team, channel)).name
        except CALL_ERRORS:
            return ""  # its id is enough

    async def channel(self, team: Team, channel: str, *, external: bool = False) -> Channel:
        """Who can read a channel; `external`: an event says that another company does."""
        known = self._channels.get(team.id, channel)
        if known is None and self._not_there.get(team.id, channel):
            known = UNKNOWN
        if known is not None and (known.external or not external):
            return known
        try:
            response = await team.client.conversations_info(channel=channel)
            found = channel_of(mapping(response.data, "channel"), team.id, external=external)
        except CALL_ERRORS as error:
            unknown = code_of(error) in {"channel_not_found", "missing_scope"}
            if not unknown and not lacks_method(error):
                raise
            found = channel_of({}, team.id, external=external)
        if found.sharing == UNKNOWN.sharing and not external:
            # The bot may be invited a moment later.
            self._not_there.put(True, team.id, channel)  # noqa: FBT003
        else:
            self._channels.put(found, team.id, channel)
        return found

    def direct(self, team: Team, channel: str, user: str) -> Channel:
        """A conversation that is known, without asking, to be this user's with the bot."""
        known = self._channels.get(team.id, channel)
        if known is None:
            known = Channel(partner=user)
            self._channels.put(known, team.id, channel)
        return known

    async def askers(self, team: Team, channel: str, root: str) -> tuple[str, ...]:
        """Who asked the bot in a thread; empty where it takes no part."""
        known = self._askers_known(team, channel, root)
        if known is not None:
            return known
        thread = await self.thread(team, channel, root)
        askers = tuple({asker_of(message, team.bot_user) for message in thread} - {""})
        if askers:
            self._askers.put(askers, team.id, channel, root)
        else:
            self._not_there.put(True, team.id, channel, root)  # noqa: FBT003
        return askers

    def _askers_known(self, team: Team, channel: str, root: str) -> tuple[str, ...] | None:
        askers = self._askers.get(team.id, channel, root)
        if askers is None and self._not_there.get(team.id, channel, root):
            return ()
        return askers

    def asked(self, team: Team, channel: str, root: str, user: str) -> None:
        """Somebody asked the bot in a thread, as we know without asking Slack."""
        known = self._askers_known(team, channel, root)
        # Of a thread that was never looked at, others may be unknown: it is looked at then.
        if known is not None or not root:
            self._askers.put(tuple({*(known or ()), user}), team.id, channel, root)

    async def thread(
        self, team: Team, channel: str, root: str, *, oldest: str = "0"
    ) -> list[Mapping[str, Any]]:
        """The messages of a thread in order, its root first, with the metadata of ours."""
        found: list[Mapping[str, Any]] = []
        cursor = ""
        for _ in range(PAGES):
            response = await team.client.conversations_replies(
                channel=channel,
                ts=root,
                oldest=oldest,
                limit=PAGE,
                cursor=cursor or None,
                include_all_metadata=True,
            )
            found += messages_in(response)
            cursor = text(response.data, "response_metadata", "next_cursor")
            if not cursor:
                break
        return found

    async def message(
        self, team: Team, channel: str, ts: str, root: str = ""
    ) -> Mapping[str, Any] | None:
        """One message with its metadata."""
        if root and root != ts:
            page = await self.thread(team, channel, root, oldest=f"{float(ts) - 1:.6f}")
        else:
            # A reply is found by its own ts, too: Slack then returns it alone.
            page = await self.thread(team, channel, ts)
        return next((m for m in page if m["ts"] == ts), None)


def messages_in(response: AsyncSlackResponse) -> list[Mapping[str, Any]]:
    """The messages that a call returned; what has no time stamp is none."""
    return [one for one in mappings(response.data, "messages") if is_ts(text(one, "ts"))]
