"""What questions and gestures share: who may, where it is, and a word to one person.

It must never show a refusal to anybody but the person who is refused.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import aiohttp

from bots.platform import Publish
from bots.slack.access import NOBODY, Access
from bots.slack.api import CALL_ERRORS, code_of
from bots.slack.events import Said, place_of, user_of
from bots.slack.files import Store
from bots.slack.lookup import Lookup, Remembered
from bots.slack.settings import SlackSettings
from bots.slack.status import Status
from bots.slack.teams import Team, Teams
from bots.slack.text import hosts
from shared.connection import Unavailable
from shared.log import logger
from shared.messages import Address, Place

TOLD_FOR_S: Final = 48 * 3600.0
"""Nobody is told the same refusal in the same place twice a day: half of this is certain."""

HELP: Final = (
    "Ask me in a direct message, or mention me in a channel; in a thread I go on listening. "
    "`!stop` stops an answer, `!reset` makes me forget what was said here, `!help` shows this; "
    "`/ask`, `/reset` and `/help` work outside threads."
)
FORGOTTEN: Final = "Done: I no longer know what was said here."
EMPTY: Final = "You mentioned me without a question. " + HELP
TOO_LONG: Final = "Your message is too long for me. Please send less of it, or fewer files."
NOT_NOW: Final = "I cannot take questions right now. Please try again in a minute."
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
    link_hosts: "Remembered[frozenset[str]]" = field(init=False)
    _told: "Remembered[bool]" = field(init=False)
    _telling: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.access = Access.of(self.settings)
        self.link_hosts = Remembered(self.now)
        self._told = Remembered(self.now, seconds=TOLD_FOR_S)

    def note_links(self, text: str, prompt_id: str) -> None:
        """Remembers which hosts a question links to: its answer may link to those, too."""
        if linked := hosts(text):
            self.link_hosts.put(linked, prompt_id)

    async def team_of(self, body: dict[str, Any]) -> Team:
        """The workspace in which something happened."""
        team = body.get("team_id") or (body.get("team") or {}).get("id") or ""
        return await self.teams.of(str(team), body.get("enterprise_id"))

    async def refusal(self, team: Team, channel: str, user: str, user_team: str = "") -> str | None:
        """Why this person is not answered here; None where they are.

        Raises:
            Unavailable: Slack does not say now who this is.
        """
        if (why := self.access.without_profile(channel, user)) is not None:
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

    async def place(self, team: Team, channel: str, thread: str, said: Said | None = None) -> Place:
        """Where something happened, and who hears it there.

        Raises:
            Unavailable: Slack does not say now what kind of channel it is.
        """
        if said is not None and said.audience is not None:
            audience, external = said.audience, said.external
        else:
            try:
                audience, external = await self.lookup.audience(team, channel)
            except CALL_ERRORS as error:
                raise Unavailable("Slack does not say now what channel it is") from error
            external = external or (said is not None and said.external)
        return place_of(team.id, channel, thread, audience, external=external)

    @staticmethod
    def address(team: Team, channel: str, thread: str, ts: str, user: str) -> Address:
        """The return address of an answer."""
        return {"team": team.id, "channel": channel, "thread_ts": thread, "ts": ts, "user": user}

    @staticmethod
    def user(team: Team, user: str) -> str:
        """The user of the bus."""
        return user_of(team.id, user)

    def tell(self, team: Team, channel: str, user: str, text: str, thread: str = "") -> None:
        """Says something that only this person reads; best effort, in the background."""
        task = asyncio.create_task(self._tell(team, channel, user, text, thread))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    def tell_once(self, team: Team, channel: str, user: str, text: str, thread: str = "") -> None:
        """The same, once a day for each person, channel and text."""
        key = (team.id, channel, user, text)
        if not self._told.get(*key):
            self._told.put(True, *key)  # noqa: FBT003
            self.tell(team, channel, user, text, thread)

    async def _tell(self, team: Team, channel: str, user: str, text: str, thread: str) -> None:
        try:
            await team.client.chat_postEphemeral(
                channel=channel, user=user, text=text, thread_ts=thread or None
            )
        except CALL_ERRORS as error:
            logger().warning("not told", why=code_of(error) or type(error).__name__)

    async def settled(self) -> None:
        """Returns when everybody is told."""
        while self._telling:
            await asyncio.wait(self._telling)
