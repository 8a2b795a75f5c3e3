"""`threadwax doctor discord` names the process that holds the lease of the Discord adapter.

It works with the adapter's own NATS user, which cannot look at anything else.
"""

import asyncio
from typing import Final

import nats.errors

from ops.finding import CheckContext, Finding
from shared import lease
from shared.bus import Bus
from shared.connection import Unavailable
from shared.nats_address import EMBEDDED

WAIT_S: Final = 2.0


async def lease_of_discord(context: CheckContext) -> list[Finding]:
    """Says who holds the lease; nothing if NATS cannot be asked, which `doctor` itself reports."""
    url = context.settings.bus_url()
    if url.startswith(EMBEDDED):
        return []
    try:
        bus = await Bus.connect(url, name="discord", wait_s=WAIT_S, on_closed=lambda: None)
    except Unavailable:
        return []
    try:
        async with asyncio.timeout(WAIT_S):
            holder, _ = await lease.look(bus, "discord")
    except (nats.errors.Error, TimeoutError):
        advice = "run `threadwax nats --setup-only` if this NATS was set up by an older version"
        return [Finding("warn", "lease", "NATS does not say who holds it", advice)]
    finally:
        await bus.close()
    if not holder.process:
        return [Finding("ok", "lease", "nobody holds it: no Discord adapter runs")]
    return [Finding("ok", "lease", f"{holder.host} has it, and is connected to Discord")]
