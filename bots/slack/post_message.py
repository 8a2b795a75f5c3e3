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
from bots.slack.origin import Origin
from shared.log import logger
from shared.recent import RecentMap

REFUSED_KEPT: Final = 1024
"""Parts whose refused variants are remembered until they are posted."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an answer can be posted: a channel, or a user for a direct message, and a thread."""

    channel: str
    thread: str = ""


def destinations_of(origin: Origin) -> list[Destination]:
    """Where an answer belongs, and where else its asker can read it, in order."""
    channel = origin.channel
    found = [Destination(channel, origin.thread), Destination(channel), Destination(origin.user)]
    return list(dict.fromkeys(one for one in found if one.channel))


class MessagePoster:
    """Posts the new messages of one process."""

    def __init__(self, known: frozenset[str]) -> None:
        """`known`: hosts whose links Slack may preview."""
        self._known = known
        self._refused: RecentMap[str, set[str]] = RecentMap(REFUSED_KEPT)

    async def post(self, origin: Origin, part: Part) -> str:
        """Posts a part; returns the receipt: the channel and the message's ts.

        Raises:
            slack_sdk and aiohttp errors: as the client does.
            Later: Slack cannot be asked now whether it was posted before.
        """
        first: SlackApiError | None = None
        for destination in destinations_of(origin):
            if first and (found := await self._find_posted(origin, part, destination)):
                return found
            try:
                return await self._post_to(origin, part, destination)
            except SlackApiError as error:
                first = first or error
                if not is_refusal(error) or code_of(error) in TEXT_REFUSED:
                    raise
                why = code_of(first)
                logger().warning("place refused", prompt=part.reply.prompt_id, why=why)
        assert first is not None  # noqa: S101  (an address has a channel)
        raise first

    async def _post_to(self, origin: Origin, part: Part, destination: Destination) -> str:
        """Posts as much of a part as Slack takes there."""
        own = destination == Destination(origin.channel, origin.thread)
        known = self._known | hosts(part.reply.prompt_text)
        in_own_thread = own and bool(destination.thread)
        variants = variants_of(part, with_question=not in_own_thread, known=known)
        key = f"{part.key} {destination}"
        refused = self._refused.setdefault(key, set())
        post = partial(
            origin.workspace.client.chat_postMessage,
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
        self, origin: Origin, part: Part, destination: Destination
    ) -> str | None:
        """The receipt of a part that an earlier process posted in a second place."""
        try:
            oldest = part.reply.address.get("ts") or "0"
            channel, messages = await messages_at(origin, destination, oldest=oldest)
        except CALL_ERRORS as error:
            if code_of(error) in NOTHING_THERE:
                return None
            raise search_error(error) from error
        for message in messages:
            metadata = read_metadata(message, origin.workspace.bot_user)
            if metadata is not None and metadata.key == part.key and metadata.final:
                return f"{channel}/{message['ts']}"
        return None


async def messages_at(
    origin: Origin, destination: Destination, *, oldest: str
) -> tuple[str, list[Mapping[str, Any]]]:
    """The channel's id, and the messages at its top since `oldest`, a ts.

    Raises:
        slack_sdk and aiohttp errors: as the client does.
    """
    channel, client = destination.channel, origin.workspace.client
    if channel == origin.user:
        opened = await client.conversations_open(users=channel)
        channel = str(opened["channel"]["id"])
    response = await client.conversations_history(
        channel=channel, oldest=oldest, limit=PAGE, include_all_metadata=True
    )
    return channel, messages_in(response)
