"""Who may use the bot in Slack. Pure: what Slack says of a person comes in, a verdict goes out.

What is not known about a person must never count in their favour.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bots.slack.settings import SlackSettings, listed

PROFILE_USED: Final = (
    "team_id", "is_stranger", "enterprise_user", "is_restricted", "is_ultra_restricted",
)  # fmt: skip
"""What a verdict needs of `users.info`."""

NOT_YOU: Final = "Sorry, I may not answer you. Please ask the person who runs me."
NOT_HERE: Final = "Sorry, I may not answer in this channel. A direct message may work."
NOT_EXTERNAL: Final = "Sorry, I only answer people of this workspace."
NOT_GUESTS: Final = "Sorry, I do not answer guests of this workspace."


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

    def without_profile(self, channel: str, user: str) -> str | None:
        """The refusal that follows from the lists alone."""
        if user in self.deny_users or (self.allow_users and user not in self.allow_users):
            return NOT_YOU
        if channel in self.deny_channels:
            return NOT_HERE
        direct = channel.startswith("D")
        if self.allow_channels and channel not in self.allow_channels and not direct:
            return NOT_HERE
        return None

    def needs_profile(self, user: str) -> bool:
        """Whether Slack must be asked who this is."""
        return user not in self.allow_users and not (self.external and self.guests)

    def with_profile(self, team: str, profile: Mapping[str, Any] | None) -> str | None:
        """The refusal that follows from what `users.info` says; None: it says nothing against."""
        if profile is None:
            return NOT_YOU
        home = profile.get("team_id")
        outsider = bool(profile.get("is_stranger")) or (home is not None and home != team)
        if outsider and profile.get("enterprise_user"):
            # In an Enterprise organisation a colleague's own workspace may be another one.
            teams = profile["enterprise_user"].get("teams") or ()
            outsider = bool(profile.get("is_stranger")) or team not in teams
        if outsider:
            return None if self.external else NOT_EXTERNAL
        if profile.get("is_restricted") or profile.get("is_ultra_restricted"):
            return None if self.guests else NOT_GUESTS
        return None
