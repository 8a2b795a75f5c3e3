"""Wires the gateway: bus, relay, discovery, status, and a clean end.

Holds no rule of its own; another gateway may run beside it at any time.
"""

import asyncio
from typing import Final

from bots.gateway.discovery import be_discovered
from bots.gateway.messages import QUEUE_GROUP
from bots.gateway.platform import Gateway
from bots.relay import Relay
from shared import lifecycle, log, names
from shared.bus import Bus
from shared.connection import Refused, Unavailable
from shared.http_status import CannotListen, serve_status
from shared.settings import Settings
from shared.tasks import end

LAST_WORDS_S: Final = 5.0
"""What came before a stop is stored within this; the supervisor waits longer."""


def main(settings: Settings) -> int:
    """Runs the gateway until it is told to stop; returns the exit code."""
    lifecycle.die_with_parent()
    log.set_up(settings.log_level, process="gateway")
    try:
        asyncio.run(_run(settings))
    except lifecycle.Stopped:
        return 0
    except (Refused, CannotListen) as error:
        lifecycle.say(str(error))
        return lifecycle.CANNOT_START
    except (Unavailable, OSError) as error:
        lifecycle.say(str(error))
        return 1
    return 0


async def _run(settings: Settings) -> None:
    stop = asyncio.create_task(lifecycle.wait_for_stop())

    async def connect() -> Bus:
        needs = names.consumer_info(names.REPLIES, "gateway")
        return await Bus.connect(settings.bus_url, name="gateway", wait_s=None, needs=needs)

    bus = await lifecycle.unless_stopped(stop, connect())
    guests_bus = await lifecycle.unless_stopped(stop, connect())
    gateway = Gateway(bus, guests_bus)
    relay = Relay(bus, gateway, consumer="gateway", subject=names.replies_to_platform("gateway"))

    def ready() -> tuple[bool, str]:
        if not bus.connected:
            return False, "NATS does not answer"
        if not gateway.listening.is_set():
            return False, "not listening yet"
        return True, "ok"

    status = None
    where = f"takes NATS requests on `{names.GATEWAY_SUBJECT}`"
    if settings.http_port is not None:
        status, port = await serve_status(settings.http_host, settings.http_port, ready=ready)
        where += f", status at http://{settings.http_host}:{port}"
    listening = asyncio.create_task(gateway.listen())
    relaying = asyncio.create_task(relay.run())
    works = {stop, listening, relaying}
    try:
        await be_discovered(bus, QUEUE_GROUP, gateway.counts)
        started = asyncio.create_task(gateway.listening.wait())
        await asyncio.wait({started, *works}, return_when=asyncio.FIRST_COMPLETED)
        if gateway.listening.is_set():
            lifecycle.ready(where)
        done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        await gateway.close()
        await asyncio.wait({listening}, timeout=LAST_WORDS_S)
    finally:
        await end(*works)
        if status is not None:
            await status.cleanup()
        await bus.close()
        await guests_bus.close()
