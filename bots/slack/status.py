"""The line below a thread that says that the bot is at work, with Slack's own Stop button.

It must never stay: it is cleared after every answer, also for one that another process began.
"""

import asyncio
from typing import Final

from slack_sdk.errors import SlackApiError

from bots.seen import Seen
from bots.slack.api import AGAIN_S, CALL_ERRORS, code_of, is_call_error, wait_of
from bots.slack.teams import Team
from shared.log import logger

WORDS: Final = "is thinking..."
SHOWN_AFTER_S: Final = 0.25
"""An answer that is there sooner costs Slack no call for the line, and nobody sees it flicker."""

CLEAR_TRIES: Final = 5
CLEARED_WITHIN_S: Final = 2.0
"""The answer stands there already; what comes next waits no longer than this for the line."""

DONE_KEPT: Final = 1024
"""Answers that can come between the storing of their question and the line for it."""

_NO_SESSIONS: Final = frozenset(
    {"unknown_method", "method_not_supported_for_channel_type", "feature_not_enabled",
     "not_allowed", "missing_scope", "invalid_arguments"}
)  # fmt: skip


class Status:
    """One process's hand on the status lines."""

    def __init__(self) -> None:
        self._done: Seen[str] = Seen(DONE_KEPT)
        self._due: set[str] = set()
        self._setting: dict[str, asyncio.Task[None]] = {}
        self._clearing: set[asyncio.Task[None]] = set()
        self._old_way: set[str] = set()

    def begin(self, team: Team, channel: str, root: str, prompt_id: str) -> None:
        """Shows that a question is worked on, unless it was answered meanwhile."""
        if not root or prompt_id in self._done or prompt_id in self._setting:
            return
        self._due.add(prompt_id)
        task = asyncio.create_task(self._begin(team, channel, root, prompt_id))
        self._setting[prompt_id] = task
        task.add_done_callback(lambda _: self._setting.pop(prompt_id, None))

    async def _begin(self, team: Team, channel: str, root: str, prompt_id: str) -> None:
        await asyncio.sleep(SHOWN_AFTER_S)
        self._due.discard(prompt_id)
        try:
            await self._set(team, channel, root, working=True)
        except CALL_ERRORS as error:
            logger().debug("no status", why=code_of(error) or type(error).__name__)

    def clear(
        self, team: Team, channel: str, root: str, prompt_id: str
    ) -> asyncio.Task[None] | None:
        """Nobody is at work here any more; tried until Slack takes it, in the background."""
        if not root:
            return None
        self._done.add(prompt_id)
        if prompt_id in self._due:
            self._due.discard(prompt_id)
            self._setting[prompt_id].cancel()
            return None
        task = asyncio.create_task(self._clear(team, channel, root, prompt_id))
        self._clearing.add(task)
        task.add_done_callback(self._clearing.discard)
        return task

    async def cleared(self, team: Team, channel: str, root: str, prompt_id: str) -> None:
        """Clears it and returns when it is cleared, or soon: then it goes on in the background."""
        if (task := self.clear(team, channel, root, prompt_id)) is not None:
            await asyncio.wait({task}, timeout=CLEARED_WITHIN_S)

    async def _clear(self, team: Team, channel: str, root: str, prompt_id: str) -> None:
        if (setting := self._setting.get(prompt_id)) is not None:
            # Otherwise it could be set after it was cleared.
            await asyncio.wait({setting})
        for _ in range(CLEAR_TRIES):
            try:
                await self._set(team, channel, root, working=False)
            except Exception as error:
                if not is_call_error(error):
                    raise
                if code_of(error) and wait_of(error) is None:
                    return  # the thread is gone, or the app may not: nothing can stand there
                await asyncio.sleep(wait_of(error) or AGAIN_S)
            else:
                return
        logger().warning("status not cleared", prompt=prompt_id)

    async def _set(self, team: Team, channel: str, root: str, *, working: bool) -> None:
        client = team.client
        if team.id not in self._old_way:
            try:
                await client.agents_sessions_setStatus(
                    channel_id=channel,
                    thread_ts=root,
                    status="processing" if working else "active",
                )
            except SlackApiError as error:
                if code_of(error) not in _NO_SESSIONS:
                    raise
                self._old_way.add(team.id)
            else:
                return
        await client.assistant_threads_setStatus(
            channel_id=channel, thread_ts=root, status=WORDS if working else ""
        )

    async def settled(self) -> None:
        """Returns when nothing is under way."""
        while tasks := {*self._setting.values(), *self._clearing}:
            await asyncio.wait(tasks)
