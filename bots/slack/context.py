"""What questions and gestures share: who may ask, where it was said, and how an event is stored.

It must never let an event that cannot be stored end without a notice to its author.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

import aiohttp

from bots.platform import Publish
from bots.slack.access import NOBODY, Access
from bots.slack.api import CALL_ERRORS
from bots.slack.directory import Lookup
from bots.slack.events import Said, place_of, user_of
from bots.slack.files import Store
from bots.slack.markup import hosts
from bots.slack.notices import Notices
from bots.slack.payloads import text
from bots.slack.settings import ChannelSettings, SlackSettings
from bots.slack.working import Status
from bots.slack.workspaces import Team, Teams
from shared.bus import OverQuota, StoreFull, TooLarge
from shared.connection import Unavailable
from shared.log import logger
from shared.messages import Address, AnyEvent, Place
from shared.recent import FreshMap

DIRECT: Final = "dm"
"""Names all direct messages in the settings of channels."""

LINK_HOSTS: Final = 50
"""Hosts to remember of one question."""

HELP: Final = (
    "Ask me in a direct message, or mention me in a channel; in a thread I go on listening. "
    "`!stop` stops an answer, `!reset` makes me forget what was said here, `!help` shows this; "
    "`/ask`, `/reset` and `/help` work outside threads."
)
FORGOTTEN: Final = "Done: I no longer know what was said here."
EMPTY: Final = "You mentioned me without a question. " + HELP
TOO_LONG: Final = "Your message is too long for me. Please send less of it, or fewer files."
NOT_NOW: Final = "I cannot take questions right now. Please try again in a minute."
OVER_QUOTA: Final = (
    "You have sent me more than I can store for one person. Please try again later, or ask the "
    "person who runs me."
)
ELSEWHERE: Final = (
    "I cannot write in this conversation, so my answer comes as a direct message from me."
)
NOT_UNDERSTOOD: Final = (
    "I could not read your last message or click. Please try it again in another way."
)
NOT_YOURS: Final = "Only the person who asked can use this button."


@dataclass
class Desk:
    """The parts that everything that listens needs."""

    settings: SlackSettings
    teams: Teams
    lookup: Lookup
    status: Status
    publish: Publish
    store: Store
    session: aiohttp.ClientSession
    api_host: str
    now: Callable[[], float]
    access: Access = field(init=False)
    link_hosts: "FreshMap[frozenset[str]]" = field(init=False)
    notices: Notices = field(init=False)

    def __post_init__(self) -> None:
        self.access = Access.of(self.settings)
        self.link_hosts = FreshMap(self.now)
        self.notices = Notices(self.now)

    def note_links(self, words: str, prompt_id: str) -> None:
        """Remembers which hosts a question links to: its answer may link to those, too."""
        if linked := hosts(words):
            self.link_hosts.put(frozenset(islice(linked, LINK_HOSTS)), prompt_id)

    async def team_of(self, body: Mapping[str, Any]) -> Team:
        """The workspace in which something happened."""
        team = text(body, "team_id") or text(body, "team", "id")
        return await self.teams.of(team, text(body, "enterprise_id") or None)

    async def refusal(self, team: Team, place: Place, user: str, user_team: str = "") -> str | None:
        """Why this person is not answered here; None where they are.

        Raises:
            Unavailable: Slack does not say now who this is.
        """
        direct = place.audience == "direct"
        if (why := self.access.without_profile(place.channel, user, direct=direct)) is not None:
            return why
        if not self.access.needs_profile(user):
            return None
        try:
            person = await self.lookup.person(team, user)
        except CALL_ERRORS as error:
            raise Unavailable("Slack does not say now who asks") from error
        if user_team and person is not NOBODY and person.team is None:
            person = replace(person, team=user_team)
        return self.access.with_profile(team.id, person)

    async def place(self, team: Team, channel: str, thread: str, user: str) -> Place:
        """Where a gesture happened, and who hears it there.

        Raises:
            Unavailable: Slack does not say now what kind of channel it is.
        """
        return await self._place(team, channel, thread, user, external=False)

    async def place_of(self, team: Team, said: Said) -> Place:
        """Where a message was written, and who hears it there.

        Raises:
            Unavailable: Slack does not say now what kind of channel it is.
        """
        if said.kind == "im":
            # Slack sends the bot messages of no other direct conversation than its own.
            seen = self.lookup.direct(team, said.channel, said.user)
            return place_of(team.id, said.channel, said.root, said.user, seen)
        return await self._place(team, said.channel, said.root, said.user, external=said.external)

    async def _place(
        self, team: Team, channel: str, thread: str, user: str, *, external: bool
    ) -> Place:
        try:
            seen = await self.lookup.channel(team, channel, external=external)
        except CALL_ERRORS as error:
            raise Unavailable("Slack does not say now what channel it is") from error
        return place_of(team.id, channel, thread, user, seen)

    def channel_settings(self, place: Place) -> ChannelSettings:
        """What the operator set for a channel, or for direct messages."""
        name = DIRECT if place.audience == "direct" else place.channel
        return self.settings.channels.get(name) or ChannelSettings()

    async def stored(
        self, team: Team, event: AnyEvent, user: str, thread: str = "", *, about: str = ""
    ) -> object:
        """Stores an event and returns what `publish` does; None if it can never be stored.

        Its author then gets a notice, once for `about`, which is the event's id by default.

        Raises:
            Unavailable: it cannot be stored now; a repeat is harmless.
        """
        try:
            return await self.publish(event)
        except TooLarge:
            words = TOO_LONG
        except StoreFull:
            words = NOT_NOW
        except OverQuota:
            words = OVER_QUOTA
        logger().info("not stored", prompt=event.id, over_quota=words is OVER_QUOTA)
        channel = event.place.channel
        await self.notices.send(team, channel, user, words, thread, about=about or event.id)
        return None

    @staticmethod
    def address(team: Team, channel: str, thread: str, ts: str, user: str) -> Address:
        """The return address of an answer."""
        return {"team": team.id, "channel": channel, "thread_ts": thread, "ts": ts, "user": user}

    @staticmethod
    def user(team: Team, user: str) -> str:
        """The user of the bus."""
        return user_of(team.id, user)
