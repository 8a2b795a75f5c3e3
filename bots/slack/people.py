"""What Slack says about a person. Pure: no I/O.

Whatever Slack does not say must never count in a person's favour.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any, Final, Literal

from bots.slack.payloads import mapping, text, texts

Role = Literal["member", "guest", "external"]

SLACKBOT: Final = "USLACKBOT"
"""Slack's own account: reminders, custom responses, notices about the workspace."""


@dataclass(frozen=True, slots=True)
class Person:
    """The fields of `users.info` that we use: the whole response takes 7 kB."""

    name: str
    """The name that others see; empty if unknown."""
    team: str | None
    """Their workspace; None if Slack does not say."""
    teams: tuple[str, ...] | None
    """All workspaces of a member of an Enterprise organization; None for everybody else."""
    stranger: bool
    """They belong to another company (Slack Connect)."""
    guest: bool

    @property
    def reads_own_channels_only(self) -> bool:
        """Whether they can open a public channel only as a member of it."""
        return self.stranger or self.guest


NOBODY: Final = Person("", None, None, stranger=True, guest=True)
"""Slack does not know this person, or does not let us ask."""


def role_of(person: Person) -> Role:
    """The role for which a budget can be set."""
    if person.stranger:
        return "external"
    return "guest" if person.guest else "member"


def person_of(user: Mapping[str, Any]) -> Person:
    """The person in the field `user` of `users.info`."""
    if not user:
        return NOBODY
    profile = mapping(user, "profile")
    names = (text(profile, "display_name"), text(profile, "real_name"), text(user, "name"))
    home = text(user, "team_id")
    enterprise = mapping(user, "enterprise_user")
    return Person(
        next(filter(None, names), ""),
        intern(home) if home else None,
        tuple(map(intern, texts(enterprise, "teams"))) if enterprise else None,
        stranger=bool(user.get("is_stranger")),
        guest=bool(user.get("is_restricted") or user.get("is_ultra_restricted")),
    )
