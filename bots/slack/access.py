"""Who may use the bot in Slack. Pure: no I/O.

Whatever is not known about a person must never count in their favour.
"""

from dataclasses import dataclass

from bots.slack.people import NOBODY, Person
from bots.slack.settings import SlackSettings, listed
from bots.slack.wording import NOT_EXTERNAL, NOT_GUESTS, NOT_HERE, NOT_YOU


@dataclass(frozen=True, slots=True)
class Access:
    """The access rules of one installation. Each check returns a refusal, or None."""

    allow_users: frozenset[str]
    deny_users: frozenset[str]
    allow_channels: frozenset[str]
    deny_channels: frozenset[str]
    external: bool
    guests: bool

    @classmethod
    def of(cls, settings: SlackSettings) -> "Access":
        """The rules that the settings describe."""
        return cls(
            listed(settings.allow_users),
            listed(settings.deny_users),
            listed(settings.allow_channels),
            listed(settings.deny_channels),
            settings.allow_external,
            settings.allow_guests,
        )

    def without_profile(self, channel: str, user: str, *, direct: bool) -> str | None:
        """The refusal that follows from the lists of users and channels alone."""
        if user in self.deny_users or (self.allow_users and user not in self.allow_users):
            return NOT_YOU
        if channel in self.deny_channels:
            return NOT_HERE
        if self.allow_channels and channel not in self.allow_channels and not direct:
            return NOT_HERE
        return None

    def needs_profile(self, user: str) -> bool:
        """Whether the decision depends on what Slack says about the person."""
        return user not in self.allow_users and not (self.external and self.guests)

    def with_profile(self, team: str, person: Person) -> str | None:
        """The refusal that follows from what Slack says about a person in the workspace `team`."""
        if person is NOBODY:
            return NOT_YOU
        # In an Enterprise organization a colleague's own workspace may be another one.
        elsewhere = person.team not in {None, team} and team not in (person.teams or ())
        if person.stranger or elsewhere:
            return None if self.external else NOT_EXTERNAL
        if person.guest:
            return None if self.guests else NOT_GUESTS
        return None
