"""What Slack knows about people, channels and threads, remembered for a while.

It must never take long: what is asked for here stands between a question and its storage.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from slack_sdk.errors import SlackApiError

from bots.slack.access import NOBODY, Person, person_of
from bots.slack.api import code_of
from bots.slack.events import Audience, is_ts
from bots.slack.teams import Team
from bots.slack.text import mentioned
from bots.slack.threads import asker_of

KEPT: Final = 10_000
"""People, channels or threads at a time: a large workspace's hour, 1.5 to 2.2 MB each."""

FRESH_S: Final = 3600.0
"""For so long at most a name, a channel's kind or a guest's state is believed."""

NOT_THERE_S: Final = 30.0
"""For so long at most a thread without the bot is believed to be so."""

PAGE: Final = 999
"""The most that both conversations.history and conversations.replies give in one call."""

PAGES: Final = 3
"""The newest of a thread are on its last page; beyond these pages it is not read."""

T = TypeVar("T")


class Remembered(Generic[T]):
    """The newest entries: for half of `seconds` and half of `keep` at least, for all of it at most.

    Two tables, the older of which goes as a whole: a time and a place in an order for each entry
    take more than the entries.
    """

    def __init__(
        self, now: Callable[[], float], *, keep: int = KEPT, seconds: float = FRESH_S
    ) -> None:
        self._now = now
        self._keep = keep // 2
        self._seconds = seconds / 2
        self._newer: dict[str, T] = {}
        self._older: dict[str, T] = {}
        self._next_at = now() + self._seconds

    def get(self, *key: str) -> T | None:
        """The entry, if it is there and fresh."""
        self._forget()
        joined = _joined(key)
        return self._newer.get(joined, self._older.get(joined))

    def put(self, value: T, *key: str) -> None:
        """Remembers an entry."""
        self._forget()
        self._older.pop(_joined(key), None)
        self._newer[_joined(key)] = value

    def _forget(self) -> None:
        now = self._now()
        if now >= self._next_at + self._seconds:
            self._newer, self._next_at = {}, now  # nobody has looked for so long
        if now >= self._next_at or len(self._newer) >= self._keep:
            self._older, self._newer = self._newer, {}
            self._next_at = min(now, self._next_at) + self._seconds

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)


class Lookup:
    """Asks Slack once, and remembers. Raises what the client raises."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._people: Remembered[Person] = Remembered(now)
        self._channels: Remembered[tuple[Audience, bool]] = Remembered(now)
        self._askers: Remembered[tuple[str, ...]] = Remembered(now)  # half of a set's room
        self._not_there: Remembered[bool] = Remembered(now, seconds=NOT_THERE_S)

    async def person(self, team: Team, user: str) -> Person:
        """Who this is; `NOBODY` where Slack knows nobody or may not say."""
        known = self._people.get(team.id, user)
        if known is not None:
            return known
        try:
            response = await team.client.users_info(user=user)
            found = person_of(response.get("user") or {})
        except SlackApiError as error:
            if code_of(error) not in {"user_not_found", "user_not_visible", "missing_scope"}:
                raise
            found = NOBODY
        self._people.put(found, team.id, user)
        return found

    async def name(self, team: Team, user: str) -> str:
        """How people call a user; the id where nobody knows."""
        return (await self.person(team, user)).called or user

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
