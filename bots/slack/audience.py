"""Who can read a conversation in Slack, and which place that makes it. Pure: no I/O.

Slack lists a channel's members only page by page and never says who joins later, so no two channels
count as one audience. If Slack does not say who reads a channel, we must assume unknown readers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final, Literal

from bots.slack.ids import PLATFORM
from bots.slack.payloads import text, texts, value
from shared.messages import Place

Audience = Literal["direct", "private", "public"]

_FLAGS: Final = ("is_shared", "is_ext_shared", "is_org_shared", "is_pending_ext_shared")
_TEAMS: Final = (
    "shared_team_ids", "connected_team_ids", "internal_team_ids",
    "pending_shared", "pending_connected_team_ids",
)  # fmt: skip
"""Lists of workspaces: https://docs.slack.dev/reference/objects/conversation-object"""


@dataclass(frozen=True, slots=True)
class Channel:
    """The fields of `conversations.info` that we use."""

    partner: str = ""
    """The person, if this is a direct message conversation with the bot."""
    public: bool = False
    """Every full member of the workspace can read it."""
    external: bool = False
    """Another company reads it."""
    name: str = ""
    """Its name, if every full member of the workspace can read it."""
    sharing: str = ""
    """Identifies how it is shared with other workspaces; empty if it certainly is not."""


UNKNOWN: Final = Channel(sharing="unknown")
"""Slack does not describe the channel. An example is a conversation between two people, from which
the bot gets only slash commands."""


def channel_of(info: Mapping[str, Any], team: str, *, external: bool = False) -> Channel:
    """The channel in a response to `conversations.info` for the bot of the workspace `team`.

    `external`: an event says that another company reads it.
    """
    if value(info, "is_im") is True:
        # Slack answers only about the bot's own direct message conversations.
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
    """Who reads what this user writes there."""
    if channel.partner and channel.partner == user:
        return "direct"
    return "public" if channel.public else "private"


def place_of(team: str, channel: str, thread: str, user: str, info: Channel) -> Place:
    """The place of what this user writes; each place has one audience.

    Every channel is a space of its own, because guests, later members and other companies may read
    one channel and not another. A channel that is shared with others is yet another space.
    """
    audience = audience_of(info, user)
    own = "/".join(filter(None, (team, channel, info.sharing)))
    return Place(
        platform=PLATFORM,
        space=team if audience == "direct" else own,
        channel=channel,
        thread=thread,
        audience=audience,
    )
