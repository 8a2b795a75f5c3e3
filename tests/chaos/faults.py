"""The faults: each is injected, lasts, and is healed."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Final

from tests.chaos.fault_plan import FaultOrder
from tests.chaos.system import System
from tests.fakes.model import Fault as ModelFault
from tests.fakes.slack import Fault as SlackFault
from tests.fakes.tcp_proxy import Way

ENDS_WITHIN_S: Final = 40.0
"""After SIGTERM: the flow lets answers under way finish for 20 s."""

SLOW_S: Final = 0.05
NATS_DISK_LEFT, FLOW_DISK_LEFT = 0, 32 << 20

DISCORD_ROUTES: Final = {
    "POST message": ("POST", r"/channels/\d+/messages$"),
    "PATCH message": ("PATCH", r"/messages/[^/]+$"),
    "POST thread": ("POST", r"/threads$"),
    "GET messages": ("GET", r"/messages$"),
    "callback": ("POST", r"/callback$"),
}
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
    async with _injected(system, order):
        await asyncio.sleep(order.lasts_s)


@contextlib.asynccontextmanager
async def _injected(system: System, order: FaultOrder) -> AsyncIterator[None]:
    kinds: dict[str, Callable[[System, FaultOrder], contextlib.AbstractAsyncContextManager[None]]]
    kinds = {
        "kill": _ended, "term": _ended, "pause": _paused, "cut": _link, "half-open": _link,
        "slow": _link, "lose": _link, "slack-socket": _slack_socket, "model": _model,
        "discord-gateway": _discord_gateway, "disk": _disk, "clock": _clock,
    }  # fmt: skip
    if order.kind in kinds:
        inject = kinds[order.kind]
    else:
        inject = _slack_call if order.kind.startswith("slack") else _discord_call
    async with inject(system, order):
        yield


# --- processes ----------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _ended(system: System, order: FaultOrder) -> AsyncIterator[None]:
    if order.target == "nats":
        system.nats_down = True
        await asyncio.to_thread(system.server.kill if order.kind == "kill" else system.server.stop)
        try:
            yield
        finally:
            await system.start_nats()
        return
    part = system.parts[order.target]
    if order.kind == "kill":
        part.kill()
    else:
        part.expected_down = True
        part.signal(signal.SIGTERM)
    try:
        yield
    finally:
        assert part.running is not None
        process = part.running.process
        assert process is not None
        if order.kind == "term":
            code: int | None = None
            try:
                code = await asyncio.wait_for(asyncio.to_thread(process.wait), ENDS_WITHIN_S)
            except TimeoutError:
                process.kill()
            # Before its handlers are there, and after its loop ended, a signal ends it as usual.
            if code not in {0, -signal.SIGTERM}:
                part.ended_by_itself.append(-99 if code is None else code)
        part.start()


@contextlib.asynccontextmanager
async def _paused(system: System, order: FaultOrder) -> AsyncIterator[None]:
    part = system.parts.get(order.target)
    pid = part.pid if part is not None else system.server.pid
    if pid is None:
        yield
        return
    if part is not None:
        part.paused = True
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        if part is not None:
            part.paused = False


# --- connections --------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _link(system: System, order: FaultOrder) -> AsyncIterator[None]:
    proxy = system.proxies[order.target]
    match order.kind:
        case "cut":
            proxy.reset()
            yield
        case "half-open":
            proxy.pause()
            try:
                yield
            finally:
                # What waits for a platform must not arrive after its sender has given up on it:
                # no platform could tell such a late twin from a second message.
                if order.twist or not order.target.endswith("-nats"):
                    proxy.reset()
                proxy.resume()
        case "slow":
            proxy.slow_s = SLOW_S * order.amount
            try:
                yield
            finally:
                proxy.slow_s = 0.0
        case _:
            proxy.lose(Way.UP if order.twist else Way.DOWN)
            try:
                yield
            finally:
                proxy.reset()  # what was lost cannot be made good within one connection
                await asyncio.sleep(0)
                proxy.lose()


# --- platforms ----------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _slack_call(system: System, order: FaultOrder) -> AsyncIterator[None]:
    kind = {"slack-limit": "limit", "slack-500": "status", "slack-hang": "hang"}.get(
        order.kind, "lost"
    )
    faults = system.slack.faults[order.target]
    faults.extend(SlackFault(kind) for _ in range(1 if kind == "hang" else order.amount))
    try:
        yield
    finally:
        faults.clear()


@contextlib.asynccontextmanager
async def _slack_socket(system: System, order: FaultOrder) -> AsyncIterator[None]:
    sockets = system.slack.sockets
    live = sockets.live[:1]
    match order.target:
        case "cut" if live:
            sockets.cut()
        case "refresh" if live:
            await sockets.refresh()
        case "lose acks":
            sockets.lose_acks = order.amount
        case name:
            for sock in live:
                sock.deaf, sock.mute = name == "deaf", name == "mute"
    try:
        yield
    finally:
        sockets.lose_acks = 0
        for sock in live:
            sock.deaf = sock.mute = False


@contextlib.asynccontextmanager
async def _discord_call(system: System, order: FaultOrder) -> AsyncIterator[None]:
    method, path = DISCORD_ROUTES[order.target]
    before = tuple(system.discord.faults)
    match order.kind:
        case "discord-429":
            system.discord.fail(method, path, status=429, retry_after=0.5, times=order.amount)
        case "discord-500":
            system.discord.fail(method, path, status=500, times=order.amount)
        case kind:
            system.discord.fail(
                method, path, kind=kind.removeprefix("discord-"), times=order.amount
            )
    (mine,) = [fault for fault in system.discord.faults if fault not in before]
    try:
        yield
    finally:
        if mine in system.discord.faults:
            system.discord.faults.remove(mine)


@contextlib.asynccontextmanager
async def _discord_gateway(system: System, order: FaultOrder) -> AsyncIterator[None]:
    gateway = system.discord.gateway
    match order.target:
        case "reconnect":
            await gateway.ask_reconnect()
        case "close":
            await gateway.close(4000)
        case name:
            gateway.refuse_resumes = name == "invalidate"
            gateway.drop()
    try:
        yield
    finally:
        gateway.refuse_resumes = False


# --- the model, disks, clocks -------------------------------------------------------------------


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
    nats = order.target == "nats"
    await asyncio.to_thread(
        system.fill_disk, order.target, NATS_DISK_LEFT if nats else FLOW_DISK_LEFT
    )
    try:
        yield
    finally:
        system.free_disk(order.target)
        if nats:
            # As `threadwax nats` does once there is room: the server does not get over it itself.
            system.nats_down = True
            await asyncio.to_thread(system.server.stop)
            await system.start_nats()


@contextlib.asynccontextmanager
async def _clock(system: System, order: FaultOrder) -> AsyncIterator[None]:
    # It stays wrong for a while longer than other faults, and is then corrected.
    system.set_clock(order.target, order.amount)
    try:
        yield
        await asyncio.sleep(1.0)  # so long a process may believe its former clock
    finally:
        system.set_clock(order.target, 0)
