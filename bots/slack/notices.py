"""Notices that only one person reads: refusals, and what could not be read or stored.

It must never show a notice to anybody else, or send the same notice about one event twice.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from bots.slack.api import AGAIN_S, CALL_ERRORS, code_of, wait_of
from bots.slack.workspaces import Team
from shared.log import logger
from shared.recent import FreshMap

TOLD_FOR_S: Final = 48 * 3600.0
"""How long a notice is remembered at most, and half of it at least: a refusal comes once a day."""

TRIES: Final = 5
LONGEST_WAIT_S: Final = 60.0

WAITED_FOR_S: Final = 2.0
"""An event waits for its notice this long before it is acknowledged: Slack allows 3 s."""

UNDER_WAY: Final = 500
"""Notices at a time; more are dropped. Only a flood of events makes more."""


class Notices:
    """One process's notices."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._told: FreshMap[bool] = FreshMap(now, seconds=TOLD_FOR_S)
        self._under_way: set[asyncio.Task[None]] = set()

    async def send(
        self, team: Team, channel: str, user: str, words: str, thread: str = "", *, about: str = ""
    ) -> None:
        """Sends a notice to one person, once for the event `about`, or once a day without one.

        Best effort. If it takes long, it goes on in the background.
        """
        key = (team.id, channel, user, f"{hash(words):x}", about)
        if self._told.get(*key):
            return
        self._told.put(True, *key)  # noqa: FBT003
        if len(self._under_way) >= UNDER_WAY:
            logger().warning("notice dropped", why="too many at a time")
            return
        task = asyncio.create_task(_send(team, channel, user, words, thread))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        await asyncio.wait({task}, timeout=WAITED_FOR_S)

    async def settled(self, seconds: float | None = None) -> None:
        """Returns when all notices are sent, or after `seconds`."""
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=seconds)


async def _send(team: Team, channel: str, user: str, words: str, thread: str) -> None:
    """Sends a notice in the thread, else in the channel, else as a direct message."""
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
    logger().warning("notice not sent", why=", ".join(refusals))


async def _refusal(call: Callable[[], Awaitable[object]]) -> str | None:
    """Why a call failed for good; None if it succeeded, at once or after Slack's waiting time."""
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
