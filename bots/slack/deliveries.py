"""Passes Slack's deliveries to Bolt in order, one at a time for each person.

A delivery must enter its person's queue before anything is awaited, or a later one could overtake
it. A redelivery waits until the first delivery is handled, and then there is nothing left to do.
A delivery that can never be handled must be acknowledged, because Slack would send it again. A
command that Slack may have shown as failed must not be carried out: its person sends it again.
"""

import asyncio
import json
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from bots.slack.answer_blocks import AGAIN
from bots.slack.events import person_in
from bots.slack.freezes import Freezes
from bots.slack.payloads import EMPTY, mappings, text
from bots.slack.wording import NOT_NOW, SAVED, STILL_SAVING
from bots.user_queues import UserQueues
from shared.log import logger

T = TypeVar("T")

PERMANENT: Final = (
    TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError,
    AssertionError,
)  # fmt: skip
"""Errors due to the payload's shape: it would fail in the same way at every delivery."""

_NO_LISTENER: Final = 404

COMMAND_WAITS_S: Final = 2.0
"""Slack shows an error after 3 s and never delivers a slash command again.

One that waits longer for its turn is refused. One that takes longer to be stored, as while NATS
elects a leader, gets its response later.
"""

LATE_RESPONSE_S: Final = 10.0
"""How long Slack may take to accept a late response."""


class Deliveries:
    """The deliveries of one process."""

    def __init__(self, app: AsyncApp, session: aiohttp.ClientSession, freezes: Freezes) -> None:
        self._app = app
        self._session = session
        self._freezes = freezes
        self._queues = UserQueues()
        self._under_way: set[asyncio.Task[Any]] = set()

    async def dispatch(self, request: AsyncBoltRequest) -> BoltResponse:
        """Bolt's response to a request, after all earlier requests of the same person."""
        if (task := asyncio.current_task()) is not None:
            self._track(task)
        body: Mapping[str, Any] = request.body
        if _asks_once(body) and self._freezes.is_just_over():
            logger().warning("refused: this process was frozen, and Slack may not have waited")
            return await self._refuse(body)
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
        if text(body, "command"):
            # The next delivery waits until this one is stored, even if its response comes first.
            handling = self._track(asyncio.create_task(self._dispatch(request)))
            handling.add_done_callback(lambda _: queue.release())
            return await self._in_time(handling, body)
        try:
            return await self._dispatch(request)
        finally:
            queue.release()

    async def _in_time(
        self, handling: asyncio.Task[BoltResponse], body: Mapping[str, Any]
    ) -> BoltResponse:
        """A command's response if it comes in time, otherwise one that announces it."""
        await asyncio.wait({handling}, timeout=COMMAND_WAITS_S)
        if handling.done():
            return handling.result()
        self._track(asyncio.create_task(self._respond_late(handling, text(body, "response_url"))))
        return BoltResponse(status=200, body={"text": STILL_SAVING})

    async def _respond_late(self, handling: asyncio.Task[BoltResponse], url: str) -> None:
        """Sends a command's response to its own address, where it is valid for 30 minutes.

        https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
        """
        await asyncio.wait({handling})
        try:
            response = json.loads(handling.result().body or "{}")
        except ValueError as error:
            logger().warning("a late response was not shown", why=type(error).__name__)
            return
        await self._post({**response, "text": response.get("text") or SAVED}, url)

    async def _refuse(self, body: Mapping[str, Any]) -> BoltResponse:
        """Says that something was not done, even if Slack no longer shows a response."""
        if text(body, "command"):
            return BoltResponse(status=200, body={"text": NOT_NOW})
        url = text(body, "response_url")
        self._track(asyncio.create_task(self._post({"text": NOT_NOW}, url)))
        return BoltResponse(status=200, body="")

    async def _post(self, response: Mapping[str, Any], url: str) -> None:
        """Shows something to the person who used a command or a button. Best effort."""
        private = {**response, "response_type": "ephemeral", "replace_original": False}
        timeout = aiohttp.ClientTimeout(total=LATE_RESPONSE_S)
        try:
            async with self._session.post(url, json=private, timeout=timeout) as answer:
                answer.raise_for_status()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            logger().warning("a late response was not shown", why=type(error).__name__)

    def _track(self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        if task not in self._under_way:
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return task

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


def _asks_once(body: Mapping[str, Any]) -> bool:
    """Whether it is a command or Again: repeated, these ask twice. Stops and thumbs do not."""
    pressed = next(iter(mappings(body, "actions")), EMPTY)
    return bool(text(body, "command")) or text(pressed, "action_id") == AGAIN


def line_of(error: BaseException) -> str:
    """The kind of an error and the line that raised it, without any data of the payload."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"
