"""The faults: each is injected, lasts, and is healed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from tests.chaos.fault_plan import FaultOrder
from tests.chaos.faults_connections import (
    discord_call,
    discord_gateway,
    discord_refuses,
    link,
    slack_call,
    slack_refuses,
    slack_socket,
)
from tests.chaos.faults_processes import ended, killed_at, paused
from tests.chaos.system import System
from tests.fakes.model import Fault as ModelFault

Injection = Callable[[System, FaultOrder], contextlib.AbstractAsyncContextManager[None]]

NATS_DISK_LEFT, FLOW_DISK_LEFT = 0, 32 << 20
BELIEVED_S: Final = 1.0
"""So long a process may believe its former clock."""

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


def can_be(order: FaultOrder, system: System) -> bool:
    """Whether this machine permits the fault."""
    if order.kind == "disk":
        return system.can_fill_disks
    return order.kind != "clock" or system.can_step_clocks


async def strike(system: System, order: FaultOrder) -> None:
    """Injects the fault, waits, and heals it, whatever happens meanwhile."""
    async with INJECTIONS[order.kind](system, order):
        await asyncio.sleep(order.lasts_s)


@contextlib.asynccontextmanager
async def _model(system: System, order: FaultOrder) -> AsyncIterator[None]:
    # Some more than one call tries again.
    faults = [MODEL_FAULTS[order.target]() for _ in range(order.amount)]
    system.model.faults.extend(faults)
    try:
        yield
    finally:
        for fault in faults:
            with contextlib.suppress(ValueError):
                system.model.faults.remove(fault)


@contextlib.asynccontextmanager
async def _disk(system: System, order: FaultOrder) -> AsyncIterator[None]:
    of_nats = order.target == "nats"
    await asyncio.to_thread(
        system.fill_disk, order.target, NATS_DISK_LEFT if of_nats else FLOW_DISK_LEFT
    )
    try:
        yield
    finally:
        system.free_disk(order.target)
        if of_nats:
            # As `threadwax nats` does once there is room: the server does not get over it itself.
            await asyncio.to_thread(system.server.stop)
            await system.start_nats()


@contextlib.asynccontextmanager
async def _clock(system: System, order: FaultOrder) -> AsyncIterator[None]:
    # It stays wrong for a while longer than other faults, and is then corrected.
    system.set_clock(order.target, order.amount)
    try:
        yield
        await asyncio.sleep(BELIEVED_S)
    finally:
        system.set_clock(order.target, 0)


INJECTIONS: Final[dict[str, Injection]] = {
    "kill": ended, "term": ended, "kill-at": killed_at, "pause": paused,
    "cut": link, "half-open": link, "slow": link, "lose": link,
    **dict.fromkeys(("slack-limit", "slack-500", "slack-hang", "slack-lost"), slack_call),
    "slack-socket": slack_socket,
    **dict.fromkeys(("discord-429", "discord-500", "discord-lost", "discord-reset"), discord_call),
    "discord-gateway": discord_gateway,
    "slack-refuses": slack_refuses, "discord-refuses": discord_refuses,
    "model": _model, "disk": _disk, "clock": _clock,
}  # fmt: skip
