"""Runs one platform as a process: bus, relay, listening, status and a clean end.

Knows no platform. Another adapter may be up or down: nothing here depends on it.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from bots.platform import ChatPlatform, Publish
from bots.relay import Relay
from shared import lifecycle, log, names
from shared.bus import Bus
from shared.connection import Refused, Unavailable
from shared.http_status import CannotListen, serve_status
from shared.messages import AnyEvent
from shared.settings import Settings
from shared.tasks import end

CANNOT_RUN: Final = lifecycle.CANNOT_START
LAST_WORDS_S: Final = 5.0
"""What came before a stop is stored and acknowledged within this; the supervisor waits longer."""

PUBLISH_PATIENCE_S: Final = 2.0
"""Platforms want their acknowledgement within 3 s, and deliver again what got none."""

PREVIEWS_AFTER_S: Final = 0.25
"""A first word alone says little, and a preview is a call that a platform's limit counts: what is
whole so soon is posted at once."""


class Misconfigured(Exception):
    """A token or a permission that only a person can fix; the text says how."""


class Adapter(ChatPlatform, Protocol):
    """A platform that runs as a process of its own."""

    listening: asyncio.Event
    """Set once it hears people."""

    where: str
    """What it is connected to, in words for the status line."""

    def health(self) -> tuple[bool, str]:
        """Whether it can do its work now, and why not in words."""


Make = Callable[[Bus, Publish], Adapter]
"""Makes the adapter, complete: it publishes its events by the given function alone."""


def run_adapter(settings: Settings, name: str, make: Make) -> int:
    """Runs until it is told to stop; returns the exit code.

    `CANNOT_RUN` means that starting again will not help before a person changes something.
    """
    lifecycle.die_with_parent()
    log.set_up(settings.log_level, process=name)
    try:
        asyncio.run(_run(settings, name, make))
    except lifecycle.Stopped:
        return 0
    except (Misconfigured, Refused, CannotListen) as error:
        lifecycle.say(str(error))
        return CANNOT_RUN
    except (Unavailable, OSError) as error:
        lifecycle.say(str(error))
        return 1
    return 0


async def _run(settings: Settings, name: str, make: Make) -> None:
    stop = asyncio.create_task(lifecycle.wait_for_stop())
    bus = await lifecycle.unless_stopped(
        stop,
        Bus.connect(
            settings.bus_url, name=name, wait_s=None, needs=names.consumer_info(names.REPLIES, name)
        ),
    )

    async def publish(event: AnyEvent) -> bool:
        new = await bus.publish(event, patience_s=PUBLISH_PATIENCE_S)
        if new:
            relay.asked(event)
        return new

    adapter = make(bus, publish)
    relay = Relay(
        bus, adapter, consumer=name, subject=names.replies_to_platform(name),
        partials=names.partials_to_platform(name),
        previews_after_s=PREVIEWS_AFTER_S,
    )  # fmt: skip

    def ready() -> tuple[bool, str]:
        return adapter.health() if bus.connected else (False, "NATS does not answer")

    status = None
    if settings.http_port is not None:
        status, _ = await serve_status(settings.http_host, settings.http_port, ready=ready)

    listening = asyncio.create_task(adapter.listen())
    works = {stop, listening, asyncio.create_task(relay.run())}
    try:
        started = asyncio.create_task(adapter.listening.wait())
        await asyncio.wait({started, *works}, return_when=asyncio.FIRST_COMPLETED)
        if adapter.listening.is_set():
            lifecycle.ready(adapter.where)
        done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        await adapter.close()
        await asyncio.wait({listening}, timeout=LAST_WORDS_S)
    finally:
        await end(*works)
        if status is not None:
            await status.cleanup()
        await bus.close()
