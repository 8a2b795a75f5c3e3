"""Reads the thread around a question: quotes, and names for ids.

It must never delay or lose the question: a thread that Slack does not send in time is left out.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from bots.slack.directory import Directory
from bots.slack.errors import CALL_ERRORS, reason_of
from bots.slack.events import Message
from bots.slack.origin import Origin
from bots.slack.quotes import mentions_in, quotable, quotes_of
from bots.slack.rich_message import linked_channels
from bots.slack.settings import FollowUp
from shared.log import logger
from shared.messages import Place, Quote

THREAD_S: Final = 1.2
"""Slack wants its acknowledgement within 3 s, of which storing the question may take 2 s."""

LINKED: Final = 5
"""Channels of linked messages to look up for one question."""


class ThreadReader:
    """Reads threads by the same rule of who talks to the bot as the messages are answered."""

    def __init__(self, directory: Directory, follow_up: FollowUp) -> None:
        self._directory = directory
        self._follow_up = follow_up

    async def read(
        self, origin: Origin, message: Message, place: Place
    ) -> tuple[tuple[Quote, ...], dict[str, str]]:
        """What others wrote in the thread, and the names that the question needs."""
        workspace = origin.workspace
        names: dict[str, str] = {}
        try:
            async with asyncio.timeout(THREAD_S):
                own = " ".join((message.text, *(one.text for one in message.enclosed)))
                names = await self._directory.names(workspace, own)
                if not message.in_thread or place.audience == "direct":
                    return (), names
                thread = await self._directory.thread(origin)
                found = quotable(
                    thread, asker=message.user, bot=workspace.bot_user, before=message.ts,
                    follow_up=self._follow_up, readable=await self._readable(origin, thread),
                )  # fmt: skip
                quoted_names = await self._directory.names(workspace, mentions_in(found))
                return quotes_of(found, {**quoted_names, workspace.bot_user: "bot"}), names
        except (*CALL_ERRORS, TimeoutError) as error:
            logger().warning("asked without the thread", prompt=message.id, why=reason_of(error))
            return (), names

    async def _readable(self, origin: Origin, thread: list[Mapping[str, Any]]) -> set[str]:
        """The channels that the asker can read, of those whose messages are linked in a thread.

        Slack shows the bot a preview if the bot is a member there, even if the asker is not.
        """
        readable = {origin.channel}
        linked = sorted(linked_channels(thread) - readable)[:LINKED]
        try:
            if not linked:
                return readable
            asker = await self._directory.person(origin.workspace, origin.user)
            if asker.reads_own_channels_only:
                return readable
            for channel in linked:
                info = await self._directory.channel(origin.workspace, channel)
                if info.public and not info.sharing:
                    readable.add(channel)
        except CALL_ERRORS as error:
            logger().debug("links not looked up", why=reason_of(error))
        return readable
