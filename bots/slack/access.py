"""Who may use the bot in Slack. Pure: what Slack says of a person comes in, a verdict goes out.

What is not known about a person must never count in their favour.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any, Final

from bots.slack.payloads import mapping, text, texts
from bots.slack.settings import SlackSettings, listed

SLACKBOT: Final = "USLACKBOT"
"""Slack's own account: reminders, custom responses, notes about the workspace."""

NOT_YOU: Final = "Sorry, I may not answer you. Please ask the person who runs me."
NOT_HERE: Final = "Sorry, I may not answer in this channel. A direct message may work."
NOT_EXTERNAL: Final = "Sorry, I only answer people of this workspace."
NOT_GUESTS: Final = "Sorry, I do not answer guests of this workspace."


@dataclass(frozen=True, slots=True)
class Person:
    """What is used of `users.info`: the whole of it takes 7 kB."""

    called: str
    """By the others; empty where nobody knows."""
    team: str | None
    """Their workspace; None where Slack does not say."""
    teams: tuple[str, ...] | None
    """Those of an Enterprise organisation's member; None for everybody else."""
    stranger: bool
    guest: bool

    @property
    def reads_own_channels_only(self) -> bool:
        """Whether public channels are closed to them, unless they are members there."""
        return self.stranger or self.guest


NOBODY: Final = Person("", None, None, stranger=True, guest=True)
"""Whom Slack does not know, or may not tell of."""


def person_of(user: Mapping[str, Any]) -> Person:
    """The `user` of `users.info`."""
    if not user:
        return NOBODY
    profile = mapping(user, "profile")
    called = (text(profile, "display_name"), text(profile, "real_name"), text(user, "name"))
    home = text(user, "team_id")
    enterprise = mapping(user, "enterprise_user")
    return Person(
        next(filter(None, called), ""),
        intern(home) if home else None,
        tuple(map(intern, texts(enterprise, "teams"))) if enterprise else None,
        stranger=bool(user.get("is_stranger")),
        guest=bool(user.get("is_restricted") or user.get("is_ultra_restricted")),
    )


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of one installation."""

    allow_users: frozenset[str]
    deny_users: frozenset[str]
    allow_channels: frozenset[str]
    deny_channels: frozenset[str]
    external: bool
    guests: bool

    @classmethod
    def of(cls, settings: SlackSettings) -> "Access":
        """The rules that these settings make."""
        return cls(
            listed(settings.allow_users),
            listed(settings.deny_users),
            listed(settings.allow_channels),
            listed(settings.deny_channels),
            settings.allow_external,
            settings.allow_guests,
        )

    def without_profile(self, channel: str, user: str, *, direct: bool) -> str | None:
        """The refusal that follows from the lists alone."""
        if user in self.deny_users or (self.allow_users and user not in self.allow_users):
            return NOT_YOU
        if channel in self.deny_channels:
            return NOT_HERE
        if self.allow_channels and channel not in self.allow_channels and not direct:
            return NOT_HERE
        return None

    def needs_profile(self, user: str) -> bool:
        """Whether Slack must be asked who this is."""
        return user not in self.allow_users and not (self.external and self.guests)

    def with_profile(self, team: str, person: Person) -> str | None:
        """The refusal that follows from what `users.info` says; None: it says nothing against."""
        if person is NOBODY:
            return NOT_YOU
        # In an Enterprise organisation a colleague's own workspace may be another one.
        elsewhere = person.team not in {None, team} and team not in (person.teams or ())
        if person.stranger or elsewhere:
            return None if self.external else NOT_EXTERNAL
        if person.guest:
            return None if self.guests else NOT_GUESTS
        return None
