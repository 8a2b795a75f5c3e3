"""Runs one platform as a process: its bus, relay, status page and shutdown.

Knows no platform. It must never depend on another adapter's being up.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from bots.peers import Peers
from bots.platform import ChatPlatform, Publish
from bots.relay import Relay
from shared import lifecycle, log, metrics, names
from shared.bus import Bus
from shared.connection import Refused, Unavailable
from shared.http_status import CannotListen, serve_status
from shared.messages import AnyEvent, Ask
from shared.settings import Settings
from shared.tasks import end

CANNOT_RUN: Final = lifecycle.CANNOT_START
SHUTDOWN_S: Final = 5.0
"""How long a stopping adapter may take to store what it has accepted; the supervisor waits
longer."""

PUBLISH_PATIENCE_S: Final = 2.0
"""Platforms want an acknowledgement within 3 s and redeliver an event that got none."""

PREVIEWS_AFTER_S: Final = 0.25
"""An answer that is complete this soon is posted without a preview, which would cost a call."""


class Misconfigured(Exception):
    """A token or a permission that only a person can fix; the text says how."""


class Adapter(ChatPlatform, Protocol):
    """A platform that runs as a process of its own."""

    listening: asyncio.Event
    """Set once it receives what people write."""

    where: str
    """What it is connected to, for the status line."""

    def health(self) -> tuple[bool, str]:
        """Whether it can work now; if not, the reason in plain words."""


Make = Callable[[Bus, Publish], Coroutine[Any, Any, Adapter]]
"""Makes the adapter, which publishes its events with the given function."""


def run_adapter(
    settings: Settings, name: str, make: Make, *, previews: bool = True, redundant: bool = False
) -> int:
    """Runs an adapter until it is stopped; returns the exit code.

    `CANNOT_RUN` means that a restart cannot help until a person changes something. `previews`:
    whether the platform shows answers while they grow. `redundant`: whether others of its kind may
    run at the same time.
    """
    lifecycle.die_with_parent()
    log.set_up(settings.log_level, process=name)
    try:
        asyncio.run(_run(settings, name, make, previews=previews, redundant=redundant))
    except lifecycle.Stopped:
        return 0
    except (Misconfigured, Refused, CannotListen) as error:
        lifecycle.say(str(error))
        return CANNOT_RUN
    except (Unavailable, OSError) as error:
        lifecycle.say(str(error))
        return 1
    return 0


async def _run(
    settings: Settings, name: str, make: Make, *, previews: bool, redundant: bool
) -> None:
    stop = asyncio.create_task(lifecycle.wait_for_stop())
    needs = names.consumer_info(names.REPLIES, name)
    bus = await lifecycle.unless_stopped(
        stop, Bus.connect(settings.bus_url, name=name, wait_s=None, needs=needs)
    )

    peers = Peers(bus, name) if redundant else None

    async def publish(event: AnyEvent) -> bool:
        new = await bus.publish(event, patience_s=PUBLISH_PATIENCE_S)
        if not new:
            metrics.duplicates_prevented.labels(name, "event").inc()
            return False
        relay.asked(event)
        if peers is not None and isinstance(event, Ask):
            await peers.tell("asked", event.id, event.address)
        return True

    adapter = await lifecycle.unless_stopped(stop, make(bus, publish))
    relay = Relay(
        bus,
        adapter,
        consumer=name,
        subject=names.replies_to_platform(name),
        partials=names.partials_to_platform(name) if previews else None,
        previews_after_s=PREVIEWS_AFTER_S,
        peers=peers,
    )

    def ready() -> tuple[bool, str]:
        return adapter.health() if bus.connected else (False, "NATS does not answer")

    status, status_at = None, ""
    if settings.http_port is not None:
        status, port = await serve_status(settings.http_host, settings.http_port, ready=ready)
        status_at = f", status at http://{settings.http_host}:{port}"
    listening = asyncio.create_task(adapter.listen())
    works = {stop, listening, asyncio.create_task(relay.run())}
    try:
        started = asyncio.create_task(adapter.listening.wait())
        await asyncio.wait({started, *works}, return_when=asyncio.FIRST_COMPLETED)
        if adapter.listening.is_set():
            lifecycle.ready(adapter.where + status_at)
        done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        await adapter.close()
        await asyncio.wait({listening}, timeout=SHUTDOWN_S)
    finally:
        await end(*works)
        if status is not None:
            await status.cleanup()
        await bus.close()
