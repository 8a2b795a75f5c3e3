"""Starts the gateway as a process; contains no rules of its own.

Several gateways may run at the same time.
"""

from bots.adapter import Adapter, run_adapter
from bots.gateway.events import PLATFORM
from bots.gateway.platform import Gateway
from bots.platform import Publish
from shared import names
from shared.bus import Bus
from shared.settings import Settings


def main(settings: Settings) -> int:
    """Runs the gateway until it is stopped; returns the exit code."""

    async def make(bus: Bus, publish: Publish) -> Adapter:
        del publish  # a guest's question uses another quota than its own, and is repeated often
        needs = names.consumer_info(names.REPLIES, PLATFORM)
        guests_bus = await Bus.connect(settings.bus_url, name=PLATFORM, wait_s=None, needs=needs)
        return Gateway(bus, guests_bus)

    return run_adapter(settings, PLATFORM, make, previews=False, redundant=True)
