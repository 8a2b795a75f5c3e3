"""Who can read a conversation in Slack, as far as Slack says. Pure: no I/O.

Slack lists a channel's readers only page by page and never says who joins later, so no two channels
count as one audience. Where Slack does not say who reads, we must assume readers we do not know.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final, Literal

from bots.slack.payloads import text, texts, value

Audience = Literal["direct", "private", "public"]

_FLAGS: Final = ("is_shared", "is_ext_shared", "is_org_shared", "is_pending_ext_shared")
_TEAMS: Final = (
    "shared_team_ids", "connected_team_ids", "internal_team_ids",
    "pending_shared", "pending_connected_team_ids",
)  # fmt: skip
"""https://docs.slack.dev/reference/objects/conversation-object"""


@dataclass(frozen=True, slots=True)
class Channel:
    """What is used of `conversations.info`."""

    partner: str = ""
    """The person, if this is a direct conversation with the bot."""
    public: bool = False
    """Every full member of the workspace can read it."""
    external: bool = False
    """Another company reads it."""
    name: str = ""
    """How people call it, if every full member of the workspace can read it."""
    sharing: str = ""
    """A name for the workspaces that share it; empty if it is known that none do."""


UNKNOWN: Final = Channel(sharing="unknown")
"""Slack does not say: for example a direct conversation between two people, where only a slash
command reaches the bot."""


def channel_of(info: Mapping[str, Any], team: str, *, external: bool = False) -> Channel:
    """The `channel` of `conversations.info`, asked by the bot of the workspace `team`.

    `external`: an event said that another company reads it.
    """
    if value(info, "is_im") is True:
        # The bot gets an answer for its own direct conversations only.
        return Channel(partner=text(info, "user")) if text(info, "user") else UNKNOWN
    kind = value(info, "is_private")
    if not isinstance(kind, bool):
        return replace(UNKNOWN, external=external)
    shared = {flag for flag in _FLAGS if value(info, flag) is True}
    if external:
        shared.add("is_ext_shared")
    teams = {one for key in _TEAMS for one in texts(info, key)} - {team}
    if shared or teams:
        named = " ".join(sorted(shared | teams))
        sharing = blake2b(named.encode(), digest_size=6).hexdigest()
    else:
        sharing = ""
    public = not kind and value(info, "is_mpim") is not True
    return Channel(
        public=public,
        name=text(info, "name") if public else "",
        external="is_ext_shared" in shared,
        sharing=sharing,
    )


def audience_of(channel: Channel, user: str) -> Audience:
    """Who hears what this user says there."""
    if channel.partner and channel.partner == user:
        return "direct"
    return "public" if channel.public else "private"
