"""Makes relays look before they post what may have been shown after the backup was taken.

A receipt that says "somebody tried" has a relay ask the platform first (docs/decisions/0004).
"""

import asyncio
from typing import Final

from nats.aio.msg import Msg

from ops.backup.streams import put_first, subjects_of
from ops.rehearse.streams import read_to_end
from shared import names, user_names
from shared.bus import Bus
from shared.receipts import is_finished

PARTS: Final = 20
"""The most parts of an answer on any platform."""

AT_ONCE: Final = 64


async def claim_unfinished(bus: Bus) -> int:
    """Claims all replies that are not recorded as shown, and replies that are still to come.

    Returns how many. Nobody may use the streams meanwhile.
    """
    finished: set[tuple[str, str]] = set()

    async def take_receipt(message: Msg) -> None:
        if is_finished(message.data):
            finished.add(names.prompt_of_receipt(message.subject))

    await read_to_end(bus, names.RECEIPTS_STREAM, names.first_receipts(), take_receipt)
    replies = {_key(subject) for subject in await subjects_of(bus, names.REPLIES)}
    pending: set[tuple[str, str]] = set()

    async def take_event(message: Msg) -> None:
        try:
            platform, _ = user_names.split_user(names.user_of_stored(message.subject))
        except user_names.BadName:
            return  # it became a dead letter
        event_id = (message.headers or {}).get("Nats-Msg-Id", "")
        key = platform, event_id
        if user_names.is_token(event_id) and key not in finished and key not in replies:
            pending.add(key)

    await read_to_end(bus, names.PROMPTS, names.STORED_PROMPTS, take_event)
    unfinished = sorted(replies - finished)
    wanted = [(*key, part) for key in unfinished for part in range(PARTS)]
    wanted += [(*key, 0) for key in sorted(pending)]
    free = asyncio.Semaphore(AT_ONCE)

    async def claim(platform: str, prompt_id: str, part: int) -> None:
        subject = f"{names.RECEIPTS_PREFIX}{platform}.{prompt_id}.{part}"
        async with free:
            await bus.until_done(lambda: put_first(bus, subject))

    async with asyncio.TaskGroup() as tasks:
        for one in wanted:
            tasks.create_task(claim(*one))
    return len(unfinished) + len(pending)


def _key(reply_subject: str) -> tuple[str, str]:
    _, platform, _, prompt_id = reply_subject.split(".")
    return platform, prompt_id
