"""What adapters share in the bucket LEASES, such as the channels that Discord does not list.

Who holds a lease must never be in a backup: the position with it is older than what was answered
since (docs/decisions/0022-backups.md).
"""

from functools import partial

import nats.js.errors

from ops.backup.streams import exists, put_first, subjects_of
from shared import names
from shared.bus import Bus
from shared.lease import HOLDER


async def shared_values(bus: Bus) -> dict[str, str]:
    """The values by their subjects."""
    if not await exists(bus, names.LEASES_STREAM):
        return {}  # an older version has set up the server
    found: dict[str, str] = {}
    for subject in await subjects_of(bus, names.LEASES_STREAM):
        if subject.endswith(f".{HOLDER}"):
            continue
        try:
            message = await bus.js.get_last_msg(names.LEASES_STREAM, subject)
        except nats.js.errors.NotFoundError:
            continue  # it has just expired
        found[subject] = (message.data or b"").decode()
    return found


async def put_back_values(bus: Bus, values: dict[str, str]) -> None:
    """Stores the values that are missing: those that are there are newer."""
    for subject, value in values.items():
        await bus.until_done(partial(put_first, bus, subject, value))
