"""Posts one part as a new message, without what Slack refuses and where Slack lets us post.

It must never post in a second place before it has searched that place: an earlier process may have
posted there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from slack_sdk.errors import SlackApiError

from bots.platform import Later, Part
from bots.slack.api import (
    AGAIN_S,
    CALL_ERRORS,
    NOTHING_THERE,
    PLACE_REFUSED,
    THREAD_REFUSED,
    TOO_LONG,
    code_of,
    is_refusal,
    post_error,
)
from bots.slack.directory import PAGE, messages_in
from bots.slack.fallbacks import next_version, versions_of
from bots.slack.markup import hosts
from bots.slack.metadata import note_of
from bots.slack.workspaces import Team
from shared.log import logger
from shared.messages import Address
from shared.recent import RecentMap

TRIED_KEPT: Final = 1024
"""Parts whose refused versions are remembered until they are posted."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where an answer can be read: a channel, or a user's direct conversation, and a thread."""

    channel: str
    thread: str = ""


def spots_of(address: Address) -> list[Spot]:
    """Where an answer belongs, and where its asker reads it if Slack does not take it there."""
    channel, thread = address.get("channel", ""), address.get("thread_ts", "")
    spots = [Spot(channel, thread), Spot(channel), Spot(address.get("user", ""))]
    return list(dict.fromkeys(spot for spot in spots if spot.channel))


class NewMessages:
    """One process's new messages."""

    def __init__(self, known: frozenset[str]) -> None:
        """Links to `known` hosts may be previewed."""
        self._known = known
        self._refused: RecentMap[str, set[str]] = RecentMap(TRIED_KEPT)

    async def post(self, team: Team, part: Part) -> str:
        """Posts a part; returns the receipt: the channel and the message's ts.

        Raises:
            slack_sdk and aiohttp errors: as the client does.
            Later: Slack does not say now whether it was posted before.
        """
        first: SlackApiError | None = None
        for spot in spots_of(part.reply.address):
            if first is not None and (found := await self._found(team, part, spot)):
                return found
            try:
                receipt = await self._post_in(team, part, spot)
            except SlackApiError as error:
                first = first or error
                if not is_refusal(error) or code_of(error) in TOO_LONG:
                    raise
                why = code_of(first)
                logger().warning("cannot be posted here", prompt=part.reply.prompt_id, why=why)
            else:
                return receipt
        assert first is not None  # noqa: S101  (an address has a channel)
        raise first

    async def _post_in(self, team: Team, part: Part, spot: Spot) -> str:
        """Posts a part in one place, as much of it as Slack takes there."""
        own = spot == Spot(part.reply.address["channel"], part.reply.address.get("thread_ts", ""))
        known = self._known | hosts(part.reply.prompt_text)
        versions = versions_of(part, named=not own or not spot.thread, known=known)
        refused = self._refused.setdefault(f"{part.key} {spot}", set())
        post = partial(
            team.client.chat_postMessage, channel=spot.channel, thread_ts=spot.thread or None
        )
        code, last = "", None
        while (version := next_version(versions, refused, code)) is not None:
            try:
                response = await post(**version.message)
            except SlackApiError as error:
                code, last = code_of(error), error
                if not is_refusal(error) or code in {*THREAD_REFUSED, *PLACE_REFUSED, *TOO_LONG}:
                    raise
                # Remembered, so that a rate limit in between does not begin it all again.
                refused.add(version.without)
            else:
                if version.without:
                    logger().warning(
                        "posted with less", prompt=part.reply.prompt_id, without=version.without
                    )
                self._refused.pop(f"{part.key} {spot}", None)
                return f"{response['channel']}/{response['ts']}"
        refused.clear()
        assert last is not None  # noqa: S101  (a version was tried)
        raise last

    async def _found(self, team: Team, part: Part, spot: Spot) -> str | None:
        """The receipt of a part that a process before this one posted in a second place."""
        try:
            channel, messages = await messages_of(team, spot, part.reply.address)
        except CALL_ERRORS as error:
            if code_of(error) in NOTHING_THERE:
                return None
            raise cannot_be_asked(error) from error
        for message in messages:
            note = note_of(message, team.bot_user)
            if note is not None and note.key == part.key and note.final:
                return f"{channel}/{message['ts']}"
        return None


async def messages_of(
    team: Team, spot: Spot, address: Address
) -> tuple[str, list[Mapping[str, Any]]]:
    """The channel and the messages at its top since the question.

    Raises:
        slack_sdk and aiohttp errors: as the client does.
    """
    channel = spot.channel
    if channel == address.get("user"):
        opened = await team.client.conversations_open(users=channel)
        channel = str(opened["channel"]["id"])
    response = await team.client.conversations_history(
        channel=channel, oldest=address.get("ts") or "0", limit=PAGE, include_all_metadata=True
    )
    return channel, messages_in(response)


def cannot_be_asked(error: BaseException) -> Later:
    """What the relay does where Slack does not say what was posted."""
    later = post_error(error)
    wait_s = later.wait_s if isinstance(later, Later) else AGAIN_S
    return Later(f"Slack cannot be asked now: {later}", wait_s)
