"""Asks the dataflow to forget a user, and waits until it has.

Erases nothing itself: only the dataflow knows when no question of the user is pending any more. The
request is stored first, so it is carried out even if nobody waits for it.
"""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from shared import user_names
from shared.bus import Bus
from shared.messages import Forget, Place
from shared.replies import Reply

WAIT_S: Final = 60.0

CLIENT_NAME: Final = "setup"
"""The inbox of the administrator, who alone may publish for other people."""


async def forgotten(
    url: str | Callable[[], str], user: str, *, wait_s: float = WAIT_S
) -> Reply | None:
    """The reply that lists what was erased; None if there is none within `wait_s` seconds.

    Raises:
        Unavailable: NATS cannot be used; nothing was stored.
        OverQuota: the stream is full.
    """
    platform, _ = user_names.split_user(user)
    event = Forget(
        id=f"forget-{secrets.token_hex(8)}",
        user=user,
        place=Place(platform=platform, channel="operator", audience="direct"),
        said_at=datetime.now(UTC),
        silent=True,
    )
    bus = await Bus.connect(url, name=CLIENT_NAME)
    try:
        await bus.publish(event)
        return await bus.reply_when_stored(user, event.id, timeout_s=wait_s)
    finally:
        await bus.close()
