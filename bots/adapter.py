"""Runs one platform as a process: its bus, relay, status page and shutdown.

Knows no platform. It must never depend on another adapter's being up.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, Protocol, runtime_checkable

from bots.peers import Peers
from bots.platform import ChatPlatform, Publish
from bots.relay import Relay
from bots.step_aside import (
    OTHERS_FIRST_S,
    Pausable,
    next_quiet_s,
    pause_without_nats,
    until_unreached,
)
from shared import lifecycle, log, metrics, names, tracing
from shared.bus import Bus
from shared.connection import Refused, Unavailable
from shared.http_status import CannotListen, serve_status
from shared.lease import Lease
from shared.messages import AnyEvent, Ask
from shared.pulse import now_s
from shared.settings import Settings
from shared.stream_leaders import StreamLeaders
from shared.tasks import end

CANNOT_RUN: Final = lifecycle.CANNOT_START
SHUTDOWN_S: Final = 5.0
"""How long a stopping adapter may take to store what it has accepted; the supervisor waits
longer."""

PUBLISH_PATIENCE_S: Final = 2.0
"""Platforms want an acknowledgement within 3 s and redeliver an event that got none."""

STANDBY_AFTER_S: Final = 2.5
"""Whoever has no lease by now counts as started, on standby."""

UNREACHED: Final = "; this process did not reach the platform, and soon tries again"

UNANSWERED: Final = "the platform does not answer this process: others have its replies"

STEP_DOWN_S: Final = 1.0
"""How long an adapter that lost its lease may take to end its work properly."""

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


@runtime_checkable
class Leased(Protocol):
    """An adapter of which only one may run at a time."""

    place: str
    """Unique to its data folder, which it has locked."""

    def position(self) -> int:
        """How far it has come, for the process that runs next."""

    async def reaches(self) -> bool:
        """Whether the platform answers this process now. Returns within a few seconds."""

    async def start_at(self, bus: Bus, position: int) -> None:
        """Called before `listen`: it holds the lease, whose last holder came this far."""


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
        tracing.start(name)
        asyncio.run(_run(settings, name, make, previews=previews, redundant=redundant))
    except lifecycle.Stopped:
        return 0
    except (Misconfigured, Refused, CannotListen, tracing.CannotTrace) as error:
        lifecycle.say(str(error))
        return CANNOT_RUN
    except (Unavailable, OSError) as error:
        lifecycle.say(str(error))
        return 1
    finally:
        tracing.stop()
    return 0


async def _run(
    settings: Settings, name: str, make: Make, *, previews: bool, redundant: bool
) -> None:
    stop = asyncio.create_task(lifecycle.wait_for_stop())
    needs = names.consumer_info(names.REPLIES, name)
    bus = await lifecycle.unless_stopped(
        stop, Bus.connect(settings.bus_url, name=name, wait_s=None, needs=needs)
    )
    leaders = StreamLeaders.of_adapter(bus, name, consumer=name)
    terms = _Terms(stop, bus, leaders, name, make, previews=previews, redundant=redundant)
    asking = asyncio.create_task(leaders.watch())
    status = None
    try:
        if settings.http_port is not None:
            host = settings.http_host
            status, port = await serve_status(
                host, settings.http_port, folder=settings.home, ready=terms.ready
            )
            terms.status_at = f", status at http://{host}:{port}"
        while not stop.done():
            await terms.serve_one()
    finally:
        await end(stop, asking)
        if status is not None:
            await status.cleanup()
        await bus.close()


class _Terms:
    """The times in which the adapter runs: one, or one for each time that it gets its lease."""

    def __init__(
        self,
        stop: "asyncio.Task[str]",
        bus: Bus,
        leaders: StreamLeaders,
        name: str,
        make: Make,
        *,
        previews: bool,
        redundant: bool,
    ) -> None:
        self._stop = stop
        self._bus = bus
        self._leaders = leaders
        self._name = name
        self._make = make
        self._previews = previews
        self._redundant = redundant
        self._adapter: Adapter | None = None
        self._lease: Lease | None = None
        self._relay: Relay | None = None
        self._peers: Peers | None = None
        self._quiet_s = 0.0
        self._quiet_until = 0.0
        """If it stepped aside, until when it does not ask for the lease again."""
        self.status_at = ""

    def ready(self) -> tuple[bool, str]:
        """Whether it works or can take over at once; what it does, or why it does not."""
        trouble = self._bus.trouble or self._leaders.trouble or self._bus.storing_trouble
        if trouble:
            return False, trouble
        if self._lease is not None and not self._lease.is_held:
            standby = _standby(self._lease)
            is_quiet = now_s() < self._quiet_until
            return not is_quiet, standby + (UNREACHED if is_quiet else "")
        if self._adapter is None:
            return False, "starting"
        if self._relay is not None and not self._relay.giving.reaches():
            return False, UNANSWERED
        return self._adapter.health()

    async def serve_one(self) -> None:
        """Waits for the lease, if the adapter needs one, and runs until that is lost or at a stop.

        Raises:
            lifecycle.Stopped: a signal came before the adapter ran.
            Misconfigured: as the adapter does.
        """
        adapter = await lifecycle.unless_stopped(self._stop, self._make(self._bus, self._publish))
        lease = await self._leased(adapter) if isinstance(adapter, Leased) else None
        metrics.begin(self._name)
        self._adapter = adapter
        self._peers = Peers(self._bus, self._name) if self._redundant else None
        self._relay = Relay(
            self._bus,
            adapter,
            consumer=self._name,
            subject=names.replies_to_platform(self._name),
            partials=names.partials_to_platform(self._name) if self._previews else None,
            previews_after_s=PREVIEWS_AFTER_S,
            peers=self._peers,
        )
        listening = asyncio.create_task(adapter.listen())
        relaying = asyncio.create_task(self._relay.run())
        works: set[asyncio.Task[Any]] = {self._stop, listening, relaying}
        if self._peers is not None and isinstance(adapter, Pausable):
            works.add(asyncio.create_task(pause_without_nats(adapter, self._peers)))
        losing: set[asyncio.Task[None]] = set()
        unreached = None
        held_at = now_s()
        if lease is not None and isinstance(adapter, Leased):
            unreached = asyncio.create_task(until_unreached(adapter.reaches, lease))
            losing = {asyncio.create_task(lease.keep()), unreached}
            works |= losing
        try:
            await self._until_over(adapter, works)
            if any(one.done() for one in losing):
                await end(relaying)  # first: another process may post from now on
                if lease is not None and unreached is not None and unreached.done():
                    self._quiet_s = next_quiet_s(self._quiet_s, held_for_s=now_s() - held_at)
                    self._quiet_until = now_s() + self._quiet_s
                    await end(*losing)
                    await lease.release()
                with suppress(TimeoutError):
                    async with asyncio.timeout(STEP_DOWN_S):
                        await adapter.close()
                return
            await self._relay.leave_new_replies()
            await end(relaying)  # with it previews, and what other processes hand over
            await adapter.close()
            await asyncio.wait({listening}, timeout=SHUTDOWN_S)
            if lease is not None:
                await end(*losing)
                await lease.release()
                lease = None
            await self._relay.pull.handed_back()
        finally:
            await end(*(works - {self._stop}))
            self._adapter = None
            if lease is not None and self._stop.done():
                await lease.release()

    async def _leased(self, adapter: Leased) -> Lease:
        lease = Lease(self._bus, self._name, place=adapter.place, position=adapter.position)
        self._lease = lease
        self._leaders.need_leases(self._name)
        await lifecycle.unless_stopped(self._stop, self._acquire(lease, adapter))
        return lease

    async def _acquire(self, lease: Lease, adapter: "Leased") -> None:
        quiet_s = self._quiet_until - now_s()
        if quiet_s > 0:
            await asyncio.sleep(OTHERS_FIRST_S)
        acquiring = asyncio.create_task(lease.acquire(quiet_s=quiet_s))
        try:
            done, _ = await asyncio.wait({acquiring}, timeout=STANDBY_AFTER_S)
            if not done:
                lifecycle.ready(_standby(lease) + self.status_at)
            await adapter.start_at(self._bus, await acquiring)
        finally:
            await end(acquiring)

    async def _until_over(self, adapter: Adapter, works: "set[asyncio.Task[Any]]") -> None:
        started = asyncio.create_task(adapter.listening.wait())
        try:
            await asyncio.wait({started, *works}, return_when=asyncio.FIRST_COMPLETED)
            if adapter.listening.is_set():
                lifecycle.ready(adapter.where + self.status_at)
            done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(started)
        for task in done:
            task.result()

    async def _publish(self, event: AnyEvent) -> bool:
        if not await self._bus.publish(event, patience_s=PUBLISH_PATIENCE_S):
            metrics.duplicates_prevented.labels(self._name, "event").inc()
            return False
        if self._relay is not None:
            self._relay.asked(event)
        if self._peers is not None and isinstance(event, Ask):
            await self._peers.tell("asked", event.id, event.address)
        return True


def _standby(lease: Lease) -> str:
    return f"standby: {lease.holder.host or 'another process'} holds the lease"
