"""The line below a thread that says that the bot is at work, with Slack's own Stop button.

It must never stay: it is cleared after every answer, also for one that another process began.
A workspace without this line is asked once, and then not again for up to an hour.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final

from bots.slack.api import AGAIN_S, CALL_ERRORS, code_of, is_call_error, lacks_method, wait_of
from bots.slack.workspaces import Team
from shared.log import logger
from shared.recent import FreshMap, RecentMap, RecentSet

WORDS: Final = "is thinking..."
SHOWN_AFTER_S: Final = 0.25
"""An answer that is there sooner costs Slack no call for the line, and nobody sees it flicker."""

CLEAR_TRIES: Final = 5
CLEARED_WITHIN_S: Final = 2.0
"""The answer stands there already; what comes next waits no longer than this for the line."""

DONE_KEPT: Final = 1024
"""Answers that can come between the storing of their question and the line for it."""

SAID_KEPT: Final = 1024
"""Limit for the questions whose status line may have words of its own."""

_NOT_HERE: Final = frozenset(
    {"unknown_method", "method_not_supported_for_channel_type", "feature_not_enabled",
     "not_allowed", "missing_scope", "invalid_arguments"}
)  # fmt: skip
_SESSIONS, _LINES = "agents.sessions", "assistant.threads"


class Status:
    """One process's hand on the status lines."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._done: RecentSet[str] = RecentSet(DONE_KEPT)
        self._due: set[str] = set()
        self._setting: dict[str, asyncio.Task[None]] = {}
        self._clearing: set[asyncio.Task[None]] = set()
        self._lacking: FreshMap[bool] = FreshMap(now)
        self._worded: RecentMap[str, None] = RecentMap(SAID_KEPT)
        """Questions whose line has words of its own, or may have some of an earlier process."""

    def begin(self, team: Team, channel: str, root: str, prompt_id: str) -> None:
        """Shows that a question is worked on, unless it was answered meanwhile."""
        if not root or prompt_id in self._done or prompt_id in self._setting:
            return
        self._due.add(prompt_id)
        self._set_later(prompt_id, self._begin(team, channel, root, prompt_id))

    async def _begin(self, team: Team, channel: str, root: str, prompt_id: str) -> None:
        await asyncio.sleep(SHOWN_AFTER_S)
        self._due.discard(prompt_id)
        await self._best_effort(self._set(team, channel, root, working=True))

    # --- words ------------------------------------------------------------------------------

    async def say(self, team: Team, channel: str, root: str, prompt_id: str, words: str) -> bool:
        """Says in the line why there is no text yet; False if there is no line here."""
        if not root or self._lacks(team, _LINES, channel):
            return False
        if prompt_id in self._done:
            return True
        self.doubt(prompt_id)
        call = team.client.assistant_threads_setStatus
        try:
            try:
                await call(
                    channel_id=channel, thread_ts=root, status=WORDS, loading_messages=[words]
                )
            except CALL_ERRORS as error:
                if code_of(error) != "invalid_arguments":
                    raise
                await call(channel_id=channel, thread_ts=root, status=words)
        except CALL_ERRORS as error:
            return not self._learn(team, _LINES, channel, error)
        return True

    def unsay(self, team: Team, channel: str, root: str, prompt_id: str) -> None:
        """The answer's text begins to show: the line says again that the bot is at work."""
        if prompt_id not in self._worded or prompt_id in self._setting:
            return
        del self._worded[prompt_id]
        self._set_later(prompt_id, self._unsay(team, channel, root))

    async def _unsay(self, team: Team, channel: str, root: str) -> None:
        words = WORDS if self._lacks(team, _SESSIONS, channel) else ""
        await self._best_effort(self._set_line(team, channel, root, words))

    def doubt(self, prompt_id: str) -> None:
        """The line may have words about this question, perhaps of an earlier process."""
        self._worded[prompt_id] = None

    # --- the end ----------------------------------------------------------------------------

    def clear(
        self, team: Team, channel: str, root: str, prompt_id: str
    ) -> asyncio.Task[None] | None:
        """Nobody is at work here any more; tried until Slack takes it, in the background."""
        if not root:
            return None
        self._done.add(prompt_id)
        if prompt_id in self._due and prompt_id not in self._worded:
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
                if prompt_id in self._worded:
                    await self._set_line(team, channel, root, "")
                    self._worded.pop(prompt_id, None)
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

    async def settled(self) -> None:
        """Returns when nothing is under way."""
        while tasks := {*self._setting.values(), *self._clearing}:
            await asyncio.wait(tasks)

    # --- calls ------------------------------------------------------------------------------

    async def _set(self, team: Team, channel: str, root: str, *, working: bool) -> None:
        """Raises as the client does, except where there is nothing to set."""
        if not self._lacks(team, _SESSIONS, channel):
            try:
                await team.client.agents_sessions_setStatus(
                    channel_id=channel,
                    thread_ts=root,
                    status="processing" if working else "active",
                )
            except CALL_ERRORS as error:
                if not self._learn(team, _SESSIONS, channel, error):
                    raise
            else:
                return
        await self._set_line(team, channel, root, WORDS if working else "")

    async def _set_line(self, team: Team, channel: str, root: str, words: str) -> None:
        if self._lacks(team, _LINES, channel):
            return
        try:
            await team.client.assistant_threads_setStatus(
                channel_id=channel, thread_ts=root, status=words
            )
        except CALL_ERRORS as error:
            if not self._learn(team, _LINES, channel, error):
                raise

    def _lacks(self, team: Team, what: str, channel: str) -> bool:
        known = self._lacking.get(team.id, what) or self._lacking.get(team.id, what, channel[:1])
        return known is True

    def _learn(self, team: Team, what: str, channel: str, error: BaseException) -> bool:
        """Whether a refusal means that it does not exist here: then it is not asked for again."""
        if lacks_method(error):
            self._lacking.put(True, team.id, what)  # noqa: FBT003
        elif code_of(error) in _NOT_HERE:
            # It may exist in other kinds of conversation.
            self._lacking.put(True, team.id, what, channel[:1])  # noqa: FBT003
        else:
            return False
        logger().info("no status line here", team=team.id, method=what, why=code_of(error))
        return True

    def _set_later(self, prompt_id: str, setting: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(setting)
        self._setting[prompt_id] = task
        task.add_done_callback(lambda _: self._setting.pop(prompt_id, None))

    @staticmethod
    async def _best_effort(call: Awaitable[None]) -> None:
        try:
            await call
        except CALL_ERRORS as error:
            logger().debug("no status", why=code_of(error) or type(error).__name__)
