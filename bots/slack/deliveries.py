"""Passes Slack's deliveries to Bolt in order, one at a time for each person.

A delivery must enter its person's queue before anything is awaited, or a later one could overtake
it. A redelivery waits until the first delivery is handled, and then there is nothing left to do.
A delivery that can never be handled must be acknowledged, because Slack would send it again.
"""

import asyncio
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from slack_bolt.app.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from bots.slack.events import person_in
from bots.slack.payloads import text
from bots.slack.wording import NOT_NOW
from bots.user_queues import UserQueues
from shared.log import logger

PERMANENT: Final = (
    TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError,
    AssertionError,
)  # fmt: skip
"""Errors due to the payload's shape: it would fail in the same way at every delivery."""

_NO_LISTENER: Final = 404

COMMAND_WAITS_S: Final = 2.0
"""A slash command that waits longer is refused, because Slack shows an error after 3 s and never
delivers it again."""


class Deliveries:
    """The deliveries of one process."""

    def __init__(self, app: AsyncApp) -> None:
        self._app = app
        self._queues = UserQueues()
        self._under_way: set[asyncio.Task[Any]] = set()

    async def dispatch(self, request: AsyncBoltRequest) -> BoltResponse:
        """Bolt's response to a request, after all earlier requests of the same person."""
        task = asyncio.current_task()
        if task is not None and task not in self._under_way:
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        body: Mapping[str, Any] = request.body
        person = person_in(body)
        if not person:
            return await self._dispatch(request)
        queue = self._queues.of(person)
        try:
            async with asyncio.timeout(COMMAND_WAITS_S if text(body, "command") else None):
                await queue.acquire()
        except TimeoutError:
            logger().info("slash command refused", why="it waited too long")
            return BoltResponse(status=200, body={"text": NOT_NOW})
        try:
            return await self._dispatch(request)
        finally:
            queue.release()

    async def _dispatch(self, request: AsyncBoltRequest) -> BoltResponse:
        try:
            response = await self._app.async_dispatch(request)
        except PERMANENT as error:
            # Bolt reads ids in the payload before it calls a listener, which some shapes break.
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
    """The kind of an error and the line that raised it, without any data of the payload."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"
