"""Notices that only one person reads: refusals, and what could not be read or stored.

It must never show a notice to anybody else, nor send the same notice about one event twice, even if
the event comes to several processes: Slack sends one mention as two events.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final

from bots.slack.errors import CALL_ERRORS, RETRY_S, code_of, reason_of, wait_of
from bots.slack.ids import fingerprint
from bots.slack.origin import Origin
from bots.slack.send_once import send_once
from shared.connection import Unavailable
from shared.log import logger
from shared.receipts import Receipts
from shared.recent import FreshMap

REMEMBERED_FOR_S: Final = 48 * 3600.0
"""A notice is remembered for at least half of this: nobody reads the same refusal twice a day."""

TRIES: Final = 5
LONGEST_WAIT_S: Final = 60.0

INLINE_S: Final = 2.0
"""A notice may delay the acknowledgement of its event for this long: Slack allows 3 s."""

CONCURRENT: Final = 500
"""Notices to send at a time; only a flood of events makes more, which are dropped."""


class Notices:
    """Sends the notices of one process."""

    def __init__(self, now: Callable[[], float], receipts: Receipts | None = None) -> None:
        """`receipts`: where processes claim what they send; None if there is one only."""
        self._receipts = receipts
        self._sent: FreshMap[bool] = FreshMap(now, seconds=REMEMBERED_FOR_S)
        self._sending: set[asyncio.Task[None]] = set()

    async def send(
        self, origin: Origin, words: str, *, about: str = "", surely: bool = False
    ) -> None:
        """Sends a notice to the user of `origin`, once per event `about`; without it, once a day.

        Best effort. A notice that takes long is sent in the background. `surely`: Slack does not
        deliver the event again.

        Raises:
            Unavailable: NATS cannot say whether another process sends it. Not with `surely`.
        """
        key = (origin.workspace.id, origin.channel, origin.user, fingerprint(words), about)
        if self._sent.get(*key):
            return
        self._sent.put(True, *key)  # noqa: FBT003
        if len(self._sending) >= CONCURRENT:
            logger().warning("notice dropped", why="too many at a time")
            return
        task = asyncio.create_task(self._send_once(origin, words, about, surely=surely))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        await asyncio.wait({task}, timeout=INLINE_S)
        if task.done() and isinstance(task.exception(), Unavailable):
            self._sent.drop(*key)
            task.result()

    async def settled(self, seconds: float | None = None) -> None:
        """Returns when all notices are sent, or after `seconds`."""
        if self._sending:
            await asyncio.wait(set(self._sending), timeout=seconds)

    async def _send_once(self, origin: Origin, words: str, about: str, *, surely: bool) -> None:
        """Sends a notice unless another process does. Raises as `send` does."""
        day = f"{datetime.now(UTC):%Y-%m-%d}"
        parts = (origin.workspace.id, origin.channel, origin.user, words, about or day)
        key = f"notice.{fingerprint(chr(0).join(parts))}"
        await send_once(self._receipts, key, partial(_send, origin, words), surely=surely)


async def _send(origin: Origin, words: str) -> None:
    """Sends a notice in the thread, else in the channel, else as a direct message."""
    client, user = origin.workspace.client, origin.user
    ways = [
        partial(client.chat_postEphemeral, channel=origin.channel, user=user, text=words),
        partial(client.chat_postMessage, channel=user, text=words, unfurl_links=False,
                unfurl_media=False),
    ]  # fmt: skip
    if origin.thread:
        ways.insert(0, partial(ways[0], thread_ts=origin.thread))
    refusals = []
    for way in ways:
        refusal = await _refusal(way)
        if refusal is None:
            return
        refusals.append(refusal)
    logger().warning("notice not sent", why=", ".join(refusals))


async def _refusal(call: Callable[[], Awaitable[object]]) -> str | None:
    """Makes a call, again after an outage or a rate limit; returns why it failed, or None."""
    why = ""
    for _ in range(TRIES):
        try:
            await call()
        except CALL_ERRORS as error:
            why = reason_of(error)
            wait_s = wait_of(error)
            if wait_s is None and code_of(error):
                return why
            # Slack may have sent it even if its response is lost: a second notice does no harm.
            await asyncio.sleep(min(wait_s or RETRY_S, LONGEST_WAIT_S))
        else:
            return None
    return why
