"""Lets one of several processes send something: the one that claims it in the receipts.

The claim is renewed while its process sends, so that another one knows when that is dead. It must
never let two processes send the same thing while NATS can say which one does.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

from shared import metrics
from shared.connection import Unavailable
from shared.receipts import SHOWN, Held, Posted, Receipts
from shared.tasks import end

CLAIMED_WITHIN_S: Final = 1.5
"""Without an answer of NATS by then, Slack is to deliver the event again, perhaps to a process that
is not cut off. If it does not do that, it is sent anyway: better twice than never."""

RENEW_EVERY_S: Final = 1.0
"""Slack may let a call wait for minutes: meanwhile the claim is renewed this often."""

LOOK_EVERY_S: Final = 0.25
SILENT_LOOKS: Final = 16
"""After this many looks in a row at a claim that is not renewed, its process counts as dead.

Longer than `CLAIMED_WITHIN_S`, after which a process may send without knowing of its own claim."""


async def send_once(
    receipts: Receipts | None,
    key: str,
    send: Callable[[], Coroutine[Any, Any, None]],
    *,
    surely: bool,
    repeats: bool = False,
) -> None:
    """Calls `send` unless another process does. Waits for one that does, in case it dies.

    `key`: `notice.<hash>` or `export.<hash>`. `receipts`: where processes claim what they send;
    None if there is one process only. `surely`: Slack does not deliver the event again. `repeats`:
    what was sent before may be sent again, but not twice at a time.

    Raises:
        Unavailable: NATS cannot say whether another process sends it. Not with `surely`.
    """
    if receipts is None:
        await send()
        return
    if not await _is_ours(receipts, key, surely=surely, repeats=repeats):
        metrics.duplicates_prevented.labels("slack", key.partition(".")[0]).inc()
        return
    sending = asyncio.create_task(send())
    losing = asyncio.create_task(_until_lost(receipts, key))
    try:
        await asyncio.wait({sending, losing}, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():
            return  # this process was frozen or cut off, and another one sends it
        sending.result()
    finally:
        await end(sending, losing)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLAIMED_WITHIN_S):
            await receipts.record(key, SHOWN)


async def _is_ours(receipts: Receipts, key: str, *, surely: bool, repeats: bool) -> bool:
    """Whether this process is to send it; waits for another one that is sending it.

    Raises:
        Unavailable: NATS does not say. Not with `surely`.
    """
    seen, silent = 0, 0
    while True:
        try:
            async with asyncio.timeout(CLAIMED_WITHIN_S):
                found = await receipts.claim(key)
                if isinstance(found, Posted) and repeats and not seen:
                    found = await receipts.take_over(key, found)
                if isinstance(found, Held):
                    silent = silent + 1 if found.revision == seen else 0
                    seen = found.revision
                    if silent >= SILENT_LOOKS:
                        found = await receipts.take_over(key, found)
        except TimeoutError as error:
            if surely or seen:  # its event may be acknowledged by now
                return True
            raise Unavailable("NATS does not say who sends it") from error
        if not isinstance(found, Held):
            return not isinstance(found, Posted)  # our own: its acknowledgement was lost
        await asyncio.sleep(LOOK_EVERY_S)


async def _until_lost(receipts: Receipts, key: str) -> None:
    """Shows the others that this process is sending; returns if one has taken it over."""
    while True:
        await asyncio.sleep(RENEW_EVERY_S)
        if not await receipts.is_mine(key):
            return
