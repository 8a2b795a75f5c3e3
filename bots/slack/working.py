"""The status line below a thread while the bot is working, with Slack's own Stop button.

It must never stay: it is cleared after every answer, even if another process set it.
A workspace without this line is asked once, and then not again for up to an hour.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Final

from bots.slack.errors import (
    CALL_ERRORS,
    RETRY_S,
    code_of,
    is_call_error,
    lacks_method,
    reason_of,
    wait_of,
)
from bots.slack.origin import Origin
from shared.log import logger
from shared.recent import FreshMap, RecentMap, RecentSet

WORDS: Final = "is thinking..."
SHOWN_AFTER_S: Final = 0.25
"""A faster answer needs no status line: it saves a call, and nothing flickers."""

CLEAR_TRIES: Final = 5
CLEARED_WITHIN_S: Final = 2.0
"""How long the next step waits for the line to be cleared."""

DONE_KEPT: Final = 1024
"""Answers to remember that may come before the line for their question is set."""

WORDED_KEPT: Final = 1024
"""Questions to remember whose line may say why there is no text yet."""

_NOT_HERE: Final = frozenset(
    {"unknown_method", "method_not_supported_for_channel_type", "feature_not_enabled",
     "not_allowed", "missing_scope", "invalid_arguments"}
)  # fmt: skip
_SESSIONS, _LINES = "agents.sessions", "assistant.threads"


class Working:
    """The status lines of one process."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._done: RecentSet[str] = RecentSet(DONE_KEPT)
        self._due: set[str] = set()
        self._setting: dict[str, asyncio.Task[None]] = {}
        self._clearing: set[asyncio.Task[None]] = set()
        self._began: RecentMap[str, Origin] = RecentMap(DONE_KEPT)
        self._missing: FreshMap[bool] = FreshMap(now)
        self._worded: RecentMap[str, None] = RecentMap(WORDED_KEPT)
        """Questions whose line says why there is no text yet, perhaps set by an earlier process."""

    def begin(self, origin: Origin, prompt_id: str) -> None:
        """Shows in the background that the bot is working on a question, unless it is answered."""
        if not origin.thread or prompt_id in self._done or prompt_id in self._setting:
            return
        self._due.add(prompt_id)
        self._began[prompt_id] = origin
        self._set_later(prompt_id, self._begin(origin, prompt_id))

    async def _begin(self, origin: Origin, prompt_id: str) -> None:
        await asyncio.sleep(SHOWN_AFTER_S)
        self._due.discard(prompt_id)
        await self._best_effort(self._set(origin, working=True))

    def answered_elsewhere(self, prompt_id: str) -> None:
        """Another process answers, and clears the line; one that is being set now comes too late.

        The other one cannot know of that call, so this process clears the line after it.
        """
        self._done.add(prompt_id)
        setting = self._setting.get(prompt_id)
        if setting is None:
            return
        if prompt_id in self._due:
            self._due.discard(prompt_id)
            setting.cancel()
        elif (origin := self._began.get(prompt_id)) is not None:
            self.clear(origin, prompt_id)

    # --- why there is no text yet -----------------------------------------------------------

    async def show_status(self, origin: Origin, prompt_id: str, status: str) -> bool:
        """Shows why there is no text yet; False if there is no status line here."""
        if not origin.thread or self._lacks(origin, _LINES):
            return False
        if prompt_id in self._done:
            return True
        self.expect_status(prompt_id)
        call = partial(
            origin.workspace.client.assistant_threads_setStatus,
            channel_id=origin.channel,
            thread_ts=origin.thread,
        )
        try:
            try:
                await call(status=WORDS, loading_messages=[status])
            except CALL_ERRORS as error:
                if code_of(error) != "invalid_arguments":
                    raise
                await call(status=status)
        except CALL_ERRORS as error:
            return not self._learn(origin, _LINES, error)
        return True

    def hide_status(self, origin: Origin, prompt_id: str) -> None:
        """Shows that the bot is working, as before: the answer has begun to grow."""
        if prompt_id not in self._worded or prompt_id in self._setting:
            return
        del self._worded[prompt_id]
        self._set_later(prompt_id, self._hide_status(origin))

    async def _hide_status(self, origin: Origin) -> None:
        words = WORDS if self._lacks(origin, _SESSIONS) else ""
        await self._best_effort(self._set_line(origin, words))

    def expect_status(self, prompt_id: str) -> None:
        """Notes that an earlier process may have shown why there is no text yet."""
        self._worded[prompt_id] = None

    # --- the end ----------------------------------------------------------------------------

    def clear(self, origin: Origin, prompt_id: str) -> asyncio.Task[None] | None:
        """Clears the line in the background, in several tries; returns the task, if any."""
        if not origin.thread:
            return None
        self._done.add(prompt_id)
        if prompt_id in self._due and prompt_id not in self._worded:
            self._due.discard(prompt_id)
            self._setting[prompt_id].cancel()
            return None
        task = asyncio.create_task(self._clear(origin, prompt_id))
        self._clearing.add(task)
        task.add_done_callback(self._clearing.discard)
        return task

    async def cleared(self, origin: Origin, prompt_id: str) -> None:
        """Clears the line, and waits for that up to `CLEARED_WITHIN_S`."""
        if (task := self.clear(origin, prompt_id)) is not None:
            await asyncio.wait({task}, timeout=CLEARED_WITHIN_S)

    async def _clear(self, origin: Origin, prompt_id: str) -> None:
        if (setting := self._setting.get(prompt_id)) is not None:
            # Otherwise the line could be set after it was cleared.
            await asyncio.wait({setting})
        for _ in range(CLEAR_TRIES):
            try:
                if prompt_id in self._worded:
                    await self._set_line(origin, "")
                    self._worded.pop(prompt_id, None)
                await self._set(origin, working=False)
            except Exception as error:
                if not is_call_error(error):
                    raise
                if code_of(error) and wait_of(error) is None:
                    return  # the thread is gone or closed to the app, so there is no line
                await asyncio.sleep(wait_of(error) or RETRY_S)
            else:
                return
        logger().warning("status not cleared", prompt=prompt_id)

    async def settled(self) -> None:
        """Returns when no call is under way."""
        while tasks := {*self._setting.values(), *self._clearing}:
            await asyncio.wait(tasks)

    # --- calls ------------------------------------------------------------------------------

    async def _set(self, origin: Origin, *, working: bool) -> None:
        """Raises as the client does, unless the workspace has no such line."""
        if not self._lacks(origin, _SESSIONS):
            try:
                await origin.workspace.client.agents_sessions_setStatus(
                    channel_id=origin.channel,
                    thread_ts=origin.thread,
                    status="processing" if working else "active",
                )
            except CALL_ERRORS as error:
                if not self._learn(origin, _SESSIONS, error):
                    raise
            else:
                return
        await self._set_line(origin, WORDS if working else "")

    async def _set_line(self, origin: Origin, words: str) -> None:
        if self._lacks(origin, _LINES):
            return
        try:
            await origin.workspace.client.assistant_threads_setStatus(
                channel_id=origin.channel, thread_ts=origin.thread, status=words
            )
        except CALL_ERRORS as error:
            if not self._learn(origin, _LINES, error):
                raise

    def _lacks(self, origin: Origin, method: str) -> bool:
        team, kind = origin.workspace.id, origin.channel[:1]
        return (self._missing.get(team, method) or self._missing.get(team, method, kind)) is True

    def _learn(self, origin: Origin, method: str, error: BaseException) -> bool:
        """Remembers a refusal because the method does not exist here; False for any other error."""
        team = origin.workspace.id
        if lacks_method(error):
            self._missing.put(True, team, method)  # noqa: FBT003
        elif code_of(error) in _NOT_HERE:
            # Other kinds of conversation may have it.
            self._missing.put(True, team, method, origin.channel[:1])  # noqa: FBT003
        else:
            return False
        logger().info("no status line here", team=team, method=method, why=code_of(error))
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
            logger().debug("status not set", why=reason_of(error))
