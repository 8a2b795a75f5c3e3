"""Injects each fault, waits, and ends it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from tests.chaos.fault_plan import PlannedFault
from tests.chaos.faults_connections import (
    discord_call,
    discord_gateway,
    discord_refuses,
    link,
    slack_call,
    slack_refuses,
    slack_socket,
)
from tests.chaos.faults_processes import killed_at, paused, terminated
from tests.chaos.system import System
from tests.fakes.model import Fault as ModelFault

Injection = Callable[[System, PlannedFault], contextlib.AbstractAsyncContextManager[None]]

NATS_DISK_LEFT, FLOW_DISK_LEFT = 0, 32 << 20
CLOCK_CACHE_S: Final = 1.0
"""For this long, libfaketime can return the previous time."""

MODEL_FAULTS: Final[dict[str, Callable[[], ModelFault]]] = {
    "429": lambda: ModelFault(status=429, headers={"Retry-After": "1"}),
    "500": lambda: ModelFault(status=500),
    "503": lambda: ModelFault(status=503),
    "400": lambda: ModelFault(status=400),
    "reset": lambda: ModelFault(kind="reset"),
    "cut": lambda: ModelFault(kind="cut", after_chunks=2),
    "cut early": lambda: ModelFault(kind="cut"),
    "corrupt": lambda: ModelFault(kind="corrupt", after_chunks=1),
    "stall": lambda: ModelFault(kind="stall", after_chunks=1),
    "no finish": lambda: ModelFault(kind="no_finish", after_chunks=1),
    "error frame": lambda: ModelFault(kind="error_frame", after_chunks=1),
}


def is_possible(planned: PlannedFault, system: System) -> bool:
    """Whether the fault is possible on this machine."""
    if planned.kind == "disk":
        return system.can_fill_disks
    return planned.kind != "clock" or system.can_step_clocks


async def inject(system: System, planned: PlannedFault) -> None:
    """Injects the fault, waits, and ends it even if an exception is raised meanwhile."""
    async with INJECTIONS[planned.kind](system, planned):
        await asyncio.sleep(planned.lasts_s)


@contextlib.asynccontextmanager
async def _model(system: System, planned: PlannedFault) -> AsyncIterator[None]:
    # `amount` can be more than one call retries.
    faults = [MODEL_FAULTS[planned.target]() for _ in range(planned.amount)]
    system.model.faults.extend(faults)
    try:
        yield
    finally:
        for fault in faults:
            with contextlib.suppress(ValueError):
                system.model.faults.remove(fault)


@contextlib.asynccontextmanager
async def _disk(system: System, planned: PlannedFault) -> AsyncIterator[None]:
    of_nats = planned.target == "nats"
    await asyncio.to_thread(
        system.fill_disk, planned.target, NATS_DISK_LEFT if of_nats else FLOW_DISK_LEFT
    )
    try:
        yield
    finally:
        system.free_disk(planned.target)
        if of_nats:
            # nats-server does not recover by itself. `threadwax nats` restarts it once there is
            # room.
            await asyncio.to_thread(system.server.stop)
            await system.start_nats()


@contextlib.asynccontextmanager
async def _clock(system: System, planned: PlannedFault) -> AsyncIterator[None]:
    # The clock stays wrong a little longer than other faults last, and is then corrected.
    system.set_clock(planned.target, planned.amount)
    try:
        yield
        await asyncio.sleep(CLOCK_CACHE_S)
    finally:
        system.set_clock(planned.target, 0)


INJECTIONS: Final[dict[str, Injection]] = {
    "kill": terminated, "term": terminated, "kill-at": killed_at, "pause": paused,
    "cut": link, "half-open": link, "slow": link, "lose": link,
    **dict.fromkeys(("slack-limit", "slack-500", "slack-hang", "slack-lost"), slack_call),
    "slack-socket": slack_socket,
    **dict.fromkeys(("discord-429", "discord-500", "discord-lost", "discord-reset"), discord_call),
    "discord-gateway": discord_gateway,
    "slack-refuses": slack_refuses, "discord-refuses": discord_refuses,
    "model": _model, "disk": _disk, "clock": _clock,
}  # fmt: skip
