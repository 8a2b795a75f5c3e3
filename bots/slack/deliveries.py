"""Slack's deliveries in the order in which they come, one at a time for each person.

A person's deliveries must enter their queue before anything is awaited, or a younger one could
overtake. A redelivery waits until the first delivery is handled, and then has nothing left to do.
A delivery that can never be handled must be acknowledged, because Slack would deliver it again.
"""

import asyncio
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from slack_bolt.app.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from bots.slack.context import NOT_NOW
from bots.slack.events import person_in
from bots.slack.payloads import text
from bots.user_queues import UserQueues
from shared.log import logger

FOR_GOOD: Final = (
    TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError,
    AssertionError,
)  # fmt: skip
"""A payload whose shape nobody foresaw fails in the same way however often it comes."""

_NO_LISTENER: Final = 404

COMMAND_WAITS_S: Final = 2.0
"""A slash command is refused after this: Slack shows an error after 3 s and never redelivers it."""


class Arrivals:
    """Passes every delivery to Bolt."""

    def __init__(self, app: AsyncApp) -> None:
        self._app = app
        self._queues = UserQueues()
        self._under_way: set[asyncio.Task[Any]] = set()

    async def dispatch(self, request: AsyncBoltRequest) -> BoltResponse:
        """Bolt's response to a request, once everything earlier from the same person is handled."""
        task = asyncio.current_task()
        if task is not None and task not in self._under_way:
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        body: Mapping[str, Any] = request.body
        person = person_in(body)
        if not person:
            return await self._dispatched(request)
        queue = self._queues.of(person)
        try:
            async with asyncio.timeout(COMMAND_WAITS_S if text(body, "command") else None):
                await queue.acquire()
        except TimeoutError:
            logger().info("a command waited too long")
            return BoltResponse(status=200, body={"text": NOT_NOW})
        try:
            return await self._dispatched(request)
        finally:
            queue.release()

    async def _dispatched(self, request: AsyncBoltRequest) -> BoltResponse:
        try:
            response = await self._app.async_dispatch(request)
        except FOR_GOOD as error:
            # Bolt looks for ids in it before it calls any listener, and some shapes break that.
            logger().error("ignored: Bolt cannot read it", why=line_of(error))
        else:
            if response.status != _NO_LISTENER:
                return response
            logger().info("ignored: no listener is for it")
        return BoltResponse(status=200)

    async def settled(self, seconds: float) -> None:
        """Returns when all deliveries are handled and acknowledged, or after `seconds`."""
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=seconds)


def line_of(error: BaseException) -> str:
    """The kind of an error and where it was raised, without anything that the code worked on."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"
