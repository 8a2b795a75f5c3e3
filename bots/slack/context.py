"""What messages and interactions share: access rules, places, and storing an event.

An event that cannot be stored must never end without a notice to its author.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final, Literal

import aiohttp

from bots.platform import Publish
from bots.slack.access import Access
from bots.slack.audience import place_of
from bots.slack.directory import Directory
from bots.slack.errors import CALL_ERRORS
from bots.slack.files import StoreFile
from bots.slack.markup import hosts
from bots.slack.notices import Notices
from bots.slack.origin import Origin
from bots.slack.own_history import FetchHistory, OwnHistory
from bots.slack.payloads import text
from bots.slack.people import NOBODY, Person, role_of
from bots.slack.settings import DIRECT, ChannelSettings, SlackSettings
from bots.slack.wording import NOT_NOW, OVER_QUOTA, TOO_LONG
from bots.slack.working import Working
from bots.slack.workspaces import Workspace, Workspaces
from shared.bus import OverQuota, StoreFull, TooLarge
from shared.connection import Unavailable
from shared.log import logger
from shared.messages import AnyEvent, Place
from shared.receipts import Receipts
from shared.recent import FreshMap

LINK_HOSTS: Final = 50
"""Hosts to remember of one question."""

IsStored = Callable[[str, str], Awaitable[bool]]
"""Whether any process has stored an event, given the user on the bus and the event's id.

Raises `Unavailable`.
"""

Stored = Literal["new", "known", "refused"]
"""An event was stored now, was stored before, or can never be stored."""


@dataclass
class Context:
    """The parts of the adapter that its listeners share."""

    settings: SlackSettings
    workspaces: Workspaces
    directory: Directory
    working: Working
    publish: Publish
    is_stored: IsStored
    store_file: StoreFile
    fetch_history: FetchHistory
    session: aiohttp.ClientSession
    api_host: str
    now: Callable[[], float]
    budget_roles: frozenset[str] = frozenset()
    """The roles that have a budget; others are not reported."""
    receipts: Receipts | None = None
    """Where processes claim the notices and files that they send; None if there is one only."""
    access: Access = field(init=False)
    link_hosts: "FreshMap[frozenset[str]]" = field(init=False)
    """The hosts that a question links to, by prompt id: its answer may link to them, too."""
    notices: Notices = field(init=False)
    own_history: OwnHistory = field(init=False)

    def __post_init__(self) -> None:
        self.access = Access.of(self.settings)
        self.link_hosts = FreshMap(self.now)
        self.notices = Notices(self.now, self.receipts)
        self.own_history = OwnHistory(self.fetch_history, self.session, self.notices, self.receipts)

    def remember_links(self, words: str, prompt_id: str) -> None:
        """Remembers the hosts that a question links to."""
        if linked := hosts(words):
            self.link_hosts.put(frozenset(islice(linked, LINK_HOSTS)), prompt_id)

    async def workspace_of(self, body: Mapping[str, object]) -> Workspace:
        """The workspace of a payload."""
        team = text(body, "team_id") or text(body, "team", "id")
        return await self.workspaces.of(team, text(body, "enterprise_id") or None)

    async def refusal(self, origin: Origin, place: Place, user_team: str = "") -> str | None:
        """The refusal to show to this person; None if they are answered here.

        Raises:
            Unavailable: Slack cannot be asked now who this is.
        """
        user, direct = origin.user, place.audience == "direct"
        if (why := self.access.without_profile(place.channel, user, direct=direct)) is not None:
            return why
        if not self.access.needs_profile(user):
            return None
        person = await self._person(origin, user_team)
        return self.access.with_profile(origin.workspace.id, person)

    async def roles(self, origin: Origin, user_team: str = "") -> tuple[str, ...]:
        """The person's role, if it has a budget.

        Raises:
            Unavailable: Slack cannot be asked now who this is.
        """
        if not self.budget_roles:
            return ()
        role = role_of(await self._person(origin, user_team))
        return (role,) if role in self.budget_roles else ()

    async def _person(self, origin: Origin, user_team: str) -> Person:
        try:
            person = await self.directory.person(origin.workspace, origin.user)
        except CALL_ERRORS as error:
            raise Unavailable("Slack cannot be asked now who this is") from error
        if user_team and person is not NOBODY and person.team is None:
            person = replace(person, team=user_team)
        return person

    async def place(self, origin: Origin, *, direct: bool = False, external: bool = False) -> Place:
        """Where something happened, and who reads it there.

        `direct`: it is certainly a direct message to the bot. `external`: the event says that
        another company reads the channel.

        Raises:
            Unavailable: Slack cannot be asked now what kind of channel this is.
        """
        workspace, channel = origin.workspace, origin.channel
        if direct:
            info = self.directory.direct(origin)
        else:
            try:
                info = await self.directory.channel(workspace, channel, external=external)
            except CALL_ERRORS as error:
                raise Unavailable("Slack cannot be asked now what channel this is") from error
        return place_of(workspace.id, channel, origin.thread, origin.user, info)

    def channel_settings(self, place: Place) -> ChannelSettings:
        """The operator's settings for a channel, or for direct messages."""
        name = DIRECT if place.audience == "direct" else place.channel
        return self.settings.channels.get(name) or ChannelSettings()

    async def store_event(self, event: AnyEvent, origin: Origin, *, about: str = "") -> Stored:
        """Stores an event. If it can never be stored, its author gets a notice at `origin`.

        The notice is sent once per `about`, which is the event's id by default.

        Raises:
            Unavailable: it cannot be stored now; a repeat is harmless.
        """
        try:
            return "new" if await self.publish(event) else "known"
        except TooLarge:
            words = TOO_LONG
        except StoreFull:
            words = NOT_NOW
        except OverQuota:
            words = OVER_QUOTA
        logger().info("not stored", prompt=event.id, over_quota=words is OVER_QUOTA)
        await self.notices.send(origin, words, about=about or event.id)
        return "refused"
