"""What Slack knows about people, channels and threads, remembered for a while.

A question is not stored before these calls return, so nothing here may take long.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bots.slack.audience import UNKNOWN, Channel, channel_of
from bots.slack.errors import CALL_ERRORS, code_of, lacks_method
from bots.slack.ids import is_ts
from bots.slack.markup import mentioned, unnamed_channels
from bots.slack.origin import Origin
from bots.slack.payloads import mapping, mappings, text
from bots.slack.people import NOBODY, Person, person_of
from bots.slack.thread_participants import asker_of
from bots.slack.workspaces import Workspace
from shared.messages import Address
from shared.recent import FreshMap

NOT_THERE_S: Final = 30.0
"""A thread or a channel without the bot is asked about again after this."""

CHANNEL_S: Final = 300.0
"""The readers of a channel can change without an event: it is opened, closed or shared."""

PAGE: Final = 999
"""The most that conversations.history and conversations.replies return in one call."""

PAGES: Final = 3
"""Pages to read of a thread; the newest messages are on its last page."""

NAMES: Final = 50
"""People to look up for one message; nobody mentions more by hand."""

CHANNELS: Final = 10
"""Channels to look up for one message."""


class Directory:
    """Asks Slack once and remembers the response. Raises what the client raises."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._people: FreshMap[Person] = FreshMap(now)
        self._channels: FreshMap[Channel] = FreshMap(now, seconds=CHANNEL_S)
        # Tuples, which take half as much memory as sets.
        self._askers: FreshMap[tuple[str, ...]] = FreshMap(now)
        self._not_there: FreshMap[bool] = FreshMap(now, seconds=NOT_THERE_S)
        self._noted: FreshMap[tuple[str, ...]] = FreshMap(now)
        """Some askers of threads that were not read yet, or are being read."""

    # --- people -----------------------------------------------------------------------------

    async def person(self, workspace: Workspace, user: str) -> Person:
        """The person with this id; `NOBODY` if Slack does not know or does not say."""
        known = self._people.get(workspace.id, user)
        if known is not None:
            return known
        try:
            response = await workspace.client.users_info(user=user)
            found = person_of(mapping(response.data, "user"))
        except SlackApiError as error:
            if code_of(error) not in {"user_not_found", "user_not_visible", "missing_scope"}:
                raise
            found = NOBODY
        self._people.put(found, workspace.id, user)
        return found

    async def names(self, workspace: Workspace, written: str) -> dict[str, str]:
        """The names of the users and channels that a text mentions, except the bot's own."""
        users = sorted(mentioned(written) - {workspace.bot_user})[:NAMES]
        channels = sorted(unnamed_channels(written))[:CHANNELS]
        found = {user: (await self.person(workspace, user)).name or user for user in users}
        return found | {one: await self._channel_name(workspace, one) for one in channels}

    # --- channels ---------------------------------------------------------------------------

    async def _channel_name(self, workspace: Workspace, channel: str) -> str:
        try:
            return (await self.channel(workspace, channel)).name
        except CALL_ERRORS:
            return ""  # its id will do

    async def channel(
        self, workspace: Workspace, channel: str, *, external: bool = False
    ) -> Channel:
        """Who can read a channel; `external`: an event says that another company can."""
        known = self._channels.get(workspace.id, channel)
        if known is None and self._not_there.get(workspace.id, channel):
            known = UNKNOWN
        if known is not None and (known.external or not external):
            return known
        try:
            response = await workspace.client.conversations_info(channel=channel)
            found = channel_of(mapping(response.data, "channel"), workspace.id, external=external)
        except CALL_ERRORS as error:
            unknown = code_of(error) in {"channel_not_found", "missing_scope"}
            if not unknown and not lacks_method(error):
                raise
            found = channel_of({}, workspace.id, external=external)
        if found.sharing == UNKNOWN.sharing and not external:
            # The bot may be invited a moment later.
            self._not_there.put(True, workspace.id, channel)  # noqa: FBT003
        else:
            self._channels.put(found, workspace.id, channel)
        return found

    def direct(self, origin: Origin) -> Channel:
        """The channel of a direct message to the bot, without asking Slack."""
        known = self._channels.get(origin.workspace.id, origin.channel)
        if known is None:
            known = Channel(partner=origin.user)
            self._channels.put(known, origin.workspace.id, origin.channel)
        return known

    # --- threads ----------------------------------------------------------------------------

    async def askers(self, origin: Origin) -> tuple[str, ...]:
        """Who asked the bot in a thread; empty if the bot does not take part in it."""
        known = self._known_askers(_thread_key(origin))
        if known is not None:
            return known
        thread = await self.thread(origin)
        bot = origin.workspace.bot_user
        noted = self._noted.get(*_thread_key(origin)) or ()  # perhaps after Slack read the thread
        askers = tuple({*(asker_of(message, bot) for message in thread), *noted} - {""})
        if askers:
            self._askers.put(askers, *_thread_key(origin))
        else:
            self._not_there.put(True, *_thread_key(origin))  # noqa: FBT003
        return askers

    async def askers_before(self, origin: Origin, ts: str) -> set[str]:
        """Who had asked the bot in a thread before a message in it was written."""
        thread, bot = await self.thread(origin), origin.workspace.bot_user
        earlier = (message for message in thread if float(message["ts"]) < float(ts))
        return {asker_of(message, bot) for message in earlier} - {""}

    def add_asker(self, origin: Origin) -> None:
        """Notes that the user asked the bot in a thread."""
        self._add_asker(_thread_key(origin), origin.user)

    def add_asker_of(self, address: Address) -> None:
        """The same, for a question that another process has stored with this address."""
        team, channel, thread = (address.get(k, "") for k in ("team", "channel", "thread_ts"))
        self._add_asker((team, channel, thread), address.get("user", ""))

    def _add_asker(self, thread: tuple[str, str, str], user: str) -> None:
        known = self._known_askers(thread)
        if known is not None or not thread[-1]:
            self._askers.put(tuple({*(known or ()), user}), *thread)
        else:  # it may have other askers: the next lookup fetches it
            self._noted.put(tuple({*(self._noted.get(*thread) or ()), user}), *thread)

    def _known_askers(self, thread: tuple[str, str, str]) -> tuple[str, ...] | None:
        askers = self._askers.get(*thread)
        if askers is None and self._not_there.get(*thread):
            return ()
        return askers

    async def thread(self, origin: Origin, *, oldest: str = "0") -> list[Mapping[str, Any]]:
        """The messages of a thread since `oldest`, in order, and always its first message."""
        found: list[Mapping[str, Any]] = []
        cursor = ""
        for _ in range(PAGES):
            response = await origin.workspace.client.conversations_replies(
                channel=origin.channel,
                ts=origin.thread,
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

    async def message(self, origin: Origin, ts: str) -> Mapping[str, Any] | None:
        """One message with its metadata; None if it is not there."""
        # Slack takes the ts of a reply, too, and then returns the reply alone.
        page = await self.thread(origin.with_thread(ts))
        return next((message for message in page if message["ts"] == ts), None)


def messages_in(response: AsyncSlackResponse) -> list[Mapping[str, Any]]:
    """The messages in a response; an object without a time stamp is not a message."""
    return [one for one in mappings(response.data, "messages") if is_ts(text(one, "ts"))]


def _thread_key(origin: Origin) -> tuple[str, str, str]:
    return origin.workspace.id, origin.channel, origin.thread
