"""Lists the users whose messages are stored, so that an operator finds the right one."""

from collections import Counter
from collections.abc import Callable

from ops.forget.request import CLIENT_NAME
from shared import names, user_names
from shared.bus import Bus


async def stored_events(url: str | Callable[[], str]) -> Counter[str]:
    """How many events the stream has of each user.

    Raises:
        Unavailable: NATS cannot be used.
    """
    bus = await Bus.connect(url, name=CLIENT_NAME)
    try:
        info = await bus.until_done(
            lambda: bus.js.stream_info(names.PROMPTS, subjects_filter=names.STORED_PROMPTS)
        )
    finally:
        await bus.close()
    subjects: dict[str, int] = info.state.subjects or {}
    found: Counter[str] = Counter()
    for subject, count in subjects.items():
        try:
            found[names.user_of_stored(subject)] += count
        except user_names.BadName:
            continue  # nobody's: it became a dead letter
    return found
