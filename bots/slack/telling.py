"""Notices that only one person reads: refusals, and what could not be read or stored.

It must never show a notice to anybody else, and never tell the same event the same thing twice.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from bots.slack.api import AGAIN_S, CALL_ERRORS, code_of, wait_of
from bots.slack.remembered import Remembered
from bots.slack.teams import Team
from shared.log import logger

TOLD_FOR_S: Final = 48 * 3600.0
"""Nobody is told the same refusal in the same place twice a day: half of this is certain."""

TRIES: Final = 5
LONGEST_WAIT_S: Final = 60.0

WAITED_FOR_S: Final = 2.0
"""An event is acknowledged after its notice, or after this long: Slack allows 3 s."""

UNDER_WAY: Final = 500
"""Notices at a time. More only come in a flood, in which Slack takes none."""


class Telling:
    """One process's notices."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._told: Remembered[bool] = Remembered(now, seconds=TOLD_FOR_S)
        self._telling: set[asyncio.Task[None]] = set()

    async def tell(
        self, team: Team, channel: str, user: str, words: str, thread: str = "", *, about: str = ""
    ) -> None:
        """Says something to one person, once for the event `about`; without one, once a day.

        Returns when it is said, or soon: then it goes on in the background. Best effort.
        """
        key = (team.id, channel, user, f"{hash(words):x}", about)
        if self._told.get(*key):
            return
        self._told.put(True, *key)  # noqa: FBT003
        if len(self._telling) >= UNDER_WAY:
            logger().warning("not told", why="too many notices")
            return
        task = asyncio.create_task(_told(team, channel, user, words, thread))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)
        await asyncio.wait({task}, timeout=WAITED_FOR_S)

    async def settled(self, seconds: float | None = None) -> None:
        """Returns when everybody is told, or after so many seconds."""
        if self._telling:
            await asyncio.wait(set(self._telling), timeout=seconds)


async def _told(team: Team, channel: str, user: str, words: str, thread: str) -> None:
    """In the thread, else in the channel, else in the person's direct conversation with the bot."""
    client = team.client
    ways = [
        partial(client.chat_postEphemeral, channel=channel, user=user, text=words),
        partial(client.chat_postMessage, channel=user, text=words, unfurl_links=False,
                unfurl_media=False),
    ]  # fmt: skip
    if thread:
        ways.insert(0, partial(ways[0], thread_ts=thread))
    refusals = []
    for way in ways:
        refusal = await _refusal(way)
        if refusal is None:
            return
        refusals.append(refusal)
    logger().warning("not told", why=", ".join(refusals))


async def _refusal(call: Callable[[], Awaitable[object]]) -> str | None:
    """Why Slack refuses a call, which is tried again while Slack only says to wait."""
    why = ""
    for _ in range(TRIES):
        try:
            await call()
        except CALL_ERRORS as error:
            why = code_of(error) or type(error).__name__
            wait_s = wait_of(error)
            if wait_s is None and code_of(error):
                return why
            # A call whose answer is lost may have had its effect: a second notice harms nobody.
            await asyncio.sleep(min(wait_s or AGAIN_S, LONGEST_WAIT_S))
        else:
            return None
    return why
