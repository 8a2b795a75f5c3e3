"""Posts one part as a new message, wherever Slack lets us and without what it refuses.

It must never post in a second place before it has searched that place: an earlier process may have
posted there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from slack_sdk.errors import SlackApiError

from bots.platform import Part
from bots.slack.directory import PAGE, messages_in
from bots.slack.errors import (
    CALL_ERRORS,
    NOTHING_THERE,
    PLACE_REFUSED,
    TEXT_REFUSED,
    THREAD_REFUSED,
    code_of,
    is_refusal,
    search_error,
)
from bots.slack.fallbacks import next_variant, variants_of
from bots.slack.markup import hosts
from bots.slack.metadata import read_metadata
from bots.slack.workspaces import Workspace
from shared.log import logger
from shared.messages import Address
from shared.recent import RecentMap

REFUSED_KEPT: Final = 1024
"""Parts whose refused variants are remembered until they are posted."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an answer can be posted: a channel, or a user for a direct message, and a thread."""

    channel: str
    thread: str = ""


def destinations_of(address: Address) -> list[Destination]:
    """Where an answer belongs, and where else its asker can read it, in order."""
    channel, thread = address.get("channel", ""), address.get("thread_ts", "")
    found = [
        Destination(channel, thread), Destination(channel), Destination(address.get("user", ""))
    ]  # fmt: skip
    return list(dict.fromkeys(one for one in found if one.channel))


class MessagePoster:
    """Posts the new messages of one process."""

    def __init__(self, known: frozenset[str]) -> None:
        """`known`: hosts whose links Slack may preview."""
        self._known = known
        self._refused: RecentMap[str, set[str]] = RecentMap(REFUSED_KEPT)

    async def post(self, workspace: Workspace, part: Part) -> str:
        """Posts a part; returns the receipt: the channel and the message's ts.

        Raises:
            slack_sdk and aiohttp errors: as the client does.
            Later: Slack cannot be asked now whether it was posted before.
        """
        first: SlackApiError | None = None
        for destination in destinations_of(part.reply.address):
            if first and (found := await self._find_posted(workspace, part, destination)):
                return found
            try:
                return await self._post_to(workspace, part, destination)
            except SlackApiError as error:
                first = first or error
                if not is_refusal(error) or code_of(error) in TEXT_REFUSED:
                    raise
                why = code_of(first)
                logger().warning("place refused", prompt=part.reply.prompt_id, why=why)
        assert first is not None  # noqa: S101  (an address has a channel)
        raise first

    async def _post_to(self, workspace: Workspace, part: Part, destination: Destination) -> str:
        """Posts as much of a part as Slack takes there."""
        address = part.reply.address
        own = destination == Destination(address["channel"], address.get("thread_ts", ""))
        known = self._known | hosts(part.reply.prompt_text)
        in_own_thread = own and bool(destination.thread)
        variants = variants_of(part, with_question=not in_own_thread, known=known)
        key = f"{part.key} {destination}"
        refused = self._refused.setdefault(key, set())
        post = partial(
            workspace.client.chat_postMessage,
            channel=destination.channel,
            thread_ts=destination.thread or None,
        )
        code, last = "", None
        while (variant := next_variant(variants, refused, code)) is not None:
            try:
                response = await post(**variant.message)
            except SlackApiError as error:
                code, last = code_of(error), error
                if not is_refusal(error) or code in {
                    *THREAD_REFUSED,
                    *PLACE_REFUSED,
                    *TEXT_REFUSED,
                }:
                    raise
                # FreshMap, so that a later rate limit does not start from the first variant.
                refused.add(variant.without)
            else:
                if variant.without:
                    logger().warning(
                        "posted incomplete", prompt=part.reply.prompt_id, without=variant.without
                    )
                self._refused.pop(key, None)
                return f"{response['channel']}/{response['ts']}"
        refused.clear()
        assert last is not None  # noqa: S101  (a variant was tried)
        raise last

    async def _find_posted(
        self, workspace: Workspace, part: Part, destination: Destination
    ) -> str | None:
        """The receipt of a part that an earlier process posted in a second place."""
        try:
            channel, messages = await messages_at(workspace, destination, part.reply.address)
        except CALL_ERRORS as error:
            if code_of(error) in NOTHING_THERE:
                return None
            raise search_error(error) from error
        for message in messages:
            metadata = read_metadata(message, workspace.bot_user)
            if metadata is not None and metadata.key == part.key and metadata.final:
                return f"{channel}/{message['ts']}"
        return None


async def messages_at(
    workspace: Workspace, destination: Destination, address: Address
) -> tuple[str, list[Mapping[str, Any]]]:
    """The channel's id, and the messages at its top since the question.

    Raises:
        slack_sdk and aiohttp errors: as the client does.
    """
    channel = destination.channel
    if channel == address.get("user"):
        opened = await workspace.client.conversations_open(users=channel)
        channel = str(opened["channel"]["id"])
    response = await workspace.client.conversations_history(
        channel=channel, oldest=address.get("ts") or "0", limit=PAGE, include_all_metadata=True
    )
    return channel, messages_in(response)
