"""Reads the thread around a question: quotes, and names for ids.

It must never delay or lose the question: a thread that Slack does not send in time is left out.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from bots.slack.api import CALL_ERRORS, code_of
from bots.slack.context import Desk
from bots.slack.events import Said
from bots.slack.quotes import mentions_in, quoted, quotes_of
from bots.slack.rich_message import linked_channels
from bots.slack.workspaces import Team
from shared.log import logger
from shared.messages import Place, Quote

CONTEXT_S: Final = 1.2
"""For what others said: Slack wants its acknowledgement within 3 s, the publish takes up to 2."""

LINKED: Final = 5
"""Channels of linked messages to look up for one question."""


async def context_of(
    desk: Desk, team: Team, said: Said, place: Place
) -> tuple[tuple[Quote, ...], dict[str, str]]:
    """What others said in the thread, and the names of whom the question mentions."""
    names: dict[str, str] = {}
    try:
        async with asyncio.timeout(CONTEXT_S):
            mine = " ".join((said.text, *(one.text for one in said.enclosed)))
            names = await desk.lookup.names(team, mine)
            if not said.in_thread or place.audience == "direct":
                return (), names
            thread = await desk.lookup.thread(team, said.channel, said.root)
            found = quoted(
                thread, asker=said.user, bot=team.bot_user, before=said.ts,
                follow_up=desk.settings.follow_up,
                readable=await _readable(desk, team, said, thread),
            )  # fmt: skip
            named = await desk.lookup.names(team, mentions_in(found))
            return quotes_of(found, {**named, team.bot_user: "bot"}), names
    except (*CALL_ERRORS, TimeoutError) as error:
        why = code_of(error) or type(error).__name__
        logger().warning("asked without the thread", prompt=said.id, why=why)
        return (), names


async def _readable(
    desk: Desk, team: Team, said: Said, thread: list[Mapping[str, Any]]
) -> set[str]:
    """The channels whose linked messages the asker may read, of those linked in a thread.

    Slack previews a linked message for us if the bot is a member there. The asker may be none.
    """
    readable = {said.channel}
    linked = sorted(linked_channels(thread) - readable)[:LINKED]
    try:
        if not linked or (await desk.lookup.person(team, said.user)).reads_own_channels_only:
            return readable
        for channel in linked:
            seen = await desk.lookup.channel(team, channel)
            if seen.public and not seen.sharing:
                readable.add(channel)
    except CALL_ERRORS as error:
        logger().debug("links not looked up", why=code_of(error) or type(error).__name__)
    return readable
