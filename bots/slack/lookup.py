"""What Slack knows about people, channels and threads, remembered for a while.

It must never take long: what is asked for here stands between a question and its storage.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from slack_sdk.errors import SlackApiError

from bots.slack.access import PROFILE_USED
from bots.slack.api import code_of
from bots.slack.events import Audience, is_ts
from bots.slack.teams import Team
from bots.slack.text import mentioned
from bots.slack.threads import asker_of

KEPT: Final = 10_000
"""People, channels or threads at a time: a large workspace's hour, 2 to 5 MB each."""

FRESH_S: Final = 3600.0
"""For how long a name, a channel's kind or a guest's state is believed."""

NOT_THERE_S: Final = 30.0
"""For how long a thread without the bot is believed to be so."""

PAGE: Final = 999
"""The most that both conversations.history and conversations.replies give in one call."""

PAGES: Final = 3
"""The newest of a thread are on its last page; beyond these pages it is not read."""

T = TypeVar("T")


class Remembered(Generic[T]):
    """The newest entries, each for a while."""

    def __init__(self, now: Callable[[], float], keep: int = KEPT) -> None:
        self._now = now
        self._keep = keep
        self._entries: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def get(self, *key: str) -> T | None:
        """The entry, if it is there and fresh."""
        until, value = self._entries.get(_joined(key), (0.0, None))
        return value if self._now() < until else None

    def put(self, value: T, *key: str, seconds: float = FRESH_S) -> None:
        """Remembers an entry; the oldest ones go where there are too many, or they are stale."""
        now = self._now()
        self._entries[_joined(key)] = (now + seconds, value)
        self._entries.move_to_end(_joined(key))
        while len(self._entries) > self._keep or next(iter(self._entries.values()))[0] < now:
            self._entries.popitem(last=False)

    def drop(self, *key: str) -> None:
        """Forgets an entry."""
        self._entries.pop(_joined(key), None)

    def __len__(self) -> int:
        return len(self._entries)


class Lookup:
    """Asks Slack once, and remembers. Raises what the client raises."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._people: Remembered[Mapping[str, Any]] = Remembered(now)
        self._channels: Remembered[tuple[Audience, bool]] = Remembered(now)
        self._askers: Remembered[tuple[str, ...]] = Remembered(now)  # half of a set's room

    async def person(self, team: Team, user: str) -> Mapping[str, Any] | None:
        """What is used of `users.info`; None where Slack knows nobody or may not say."""
        known = self._people.get(team.id, user)
        if known is not None:
            return known or None
        try:
            response = await team.client.users_info(user=user)
            found = kept_of(response.get("user") or {})
        except SlackApiError as error:
            if code_of(error) not in {"user_not_found", "user_not_visible", "missing_scope"}:
                raise
            found = {}
        self._people.put(found, team.id, user)
        return found or None

    async def name(self, team: Team, user: str) -> str:
        """How people call a user; the id where nobody knows."""
        person = await self.person(team, user) or {}
        return str(person.get("called") or user)

    async def names(self, team: Team, text: str) -> dict[str, str]:
        """The names of the users whom a message mentions, but for the bot's own."""
        users = mentioned(text) - {team.bot_user}
        return {user: await self.name(team, user) for user in sorted(users)}

    async def audience(self, team: Team, channel: str) -> tuple[Audience, bool]:
        """Who hears a channel, and whether another company does; the fewest where unknown."""
        if channel.startswith("D"):
            return "direct", False
        known = self._channels.get(team.id, channel)
        if known is not None:
            return known
        found: Mapping[str, Any] = {}
        try:
            response = await team.client.conversations_info(channel=channel)
            found = response.get("channel") or {}
        except SlackApiError as error:
            if code_of(error) not in {"channel_not_found", "missing_scope"}:
                raise
        external = bool(found.get("is_ext_shared") or found.get("is_pending_ext_shared"))
        public = found.get("is_private") is False and not found.get("is_mpim")
        heard_by: tuple[Audience, bool] = ("public" if public else "private", external)
        self._channels.put(heard_by, team.id, channel)
        return heard_by

    async def askers(self, team: Team, channel: str, root: str) -> tuple[str, ...]:
        """Who asked the bot in a thread; empty where it takes no part."""
        known = self._askers.get(team.id, channel, root)
        if known is not None:
            return known
        thread = await self.thread(team, channel, root)
        found = {asker_of(message, team.bot_user) for message in thread} - {""}
        askers = tuple(found)
        seconds = FRESH_S if askers else NOT_THERE_S
        self._askers.put(askers, team.id, channel, root, seconds=seconds)
        return askers

    def asked(self, team: Team, channel: str, root: str, user: str) -> None:
        """Somebody asked the bot in a thread, as we know without asking Slack."""
        known = self._askers.get(team.id, channel, root)
        # Of a thread that was never looked at, others may be unknown: it is looked at then.
        if known is not None or not root:
            self._askers.put(tuple({*(known or ()), user}), team.id, channel, root)

    async def thread(
        self, team: Team, channel: str, root: str, *, oldest: str = "0"
    ) -> list[dict[str, Any]]:
        """The messages of a thread in order, its root first, with the metadata of ours."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        for _ in range(PAGES):
            response = await team.client.conversations_replies(
                channel=channel,
                ts=root,
                oldest=oldest,
                limit=PAGE,
                cursor=cursor,
                include_all_metadata=True,
            )
            page = response.get("messages") or []
            found += [m for m in page if is_ts(str(m.get("ts") or ""))]
            cursor = (response.get("response_metadata") or {}).get("next_cursor") or None
            if cursor is None:
                break
        return found

    async def message(
        self, team: Team, channel: str, ts: str, root: str = ""
    ) -> dict[str, Any] | None:
        """One message with its metadata."""
        if root and root != ts:
            page = await self.thread(team, channel, root, oldest=f"{float(ts) - 1:.6f}")
        else:
            # A reply is found by its own ts, too: Slack then returns it alone.
            page = await self.thread(team, channel, ts)
        return next((m for m in page if m["ts"] == ts), None)


def _joined(key: tuple[str, ...]) -> str:
    """One string takes a third of the room of a tuple of them."""
    return " ".join(key)


def kept_of(user: Mapping[str, Any]) -> dict[str, Any]:
    """What of `users.info` is used, and how the person is called: the whole of it takes 7 kB."""
    profile = user.get("profile") or {}
    called = (profile.get("display_name"), profile.get("real_name"), user.get("name"))
    kept = {key: user[key] for key in PROFILE_USED if key in user}
    return {**kept, "called": next((str(name) for name in called if name), "")} if user else {}
