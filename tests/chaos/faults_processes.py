"""Faults of processes: killed at any time or at a chosen moment, ended, stopped for a while."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from typing import Any, Final

import nats.errors

from tests.chaos.fault_plan import FaultOrder
from tests.chaos.system import System

ENDS_WITHIN_S: Final = 40.0
"""After SIGTERM: the flow lets answers under way finish for 20 s."""


@contextlib.asynccontextmanager
async def ended(system: System, order: FaultOrder) -> AsyncIterator[None]:
    if order.target == "nats":
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
async def killed_at(system: System, order: FaultOrder) -> AsyncIterator[None]:
    """Kills a process at a moment, once it comes; where it does not, nothing happens."""
    name, moment = order.target.split(" at a ")
    phase = "after" if order.twist else "before"
    left = order.amount  # the first, second or third such moment

    def come() -> None:
        nonlocal left
        left -= 1
        if left:
            return
        if name == "nats":
            system.server.kill()
        else:
            system.parts[name].kill()

    async def heard(_: object) -> None:
        come()

    def at_slack(_: str, when: str) -> None:
        if when == phase:
            come()

    def at_discord(method: str, _: str, when: str) -> None:
        if when == phase and method != "GET":
            come()

    platform = "*" if name in {"dataflow", "nats"} else name
    subjects = {"reply": f"replies.{platform}.>", "partial": f"partials.{platform}.>"}
    async with contextlib.AsyncExitStack() as stack:
        if moment in subjects:
            stack.push_async_callback(_forget, await system.bus.watch(subjects[moment], heard))
        elif moment == "model call":
            stack.callback(setattr, system.model, "hook", system.model.hook)
            system.model.hook = come
        elif name == "slack":
            stack.callback(setattr, system.slack, "hook", system.slack.hook)
            system.slack.hook = at_slack
        else:
            stack.callback(setattr, system.discord, "hook", system.discord.hook)
            system.discord.hook = at_discord
        try:
            yield
        finally:
            if left <= 0 and name == "nats":
                await system.start_nats()
            elif left <= 0:
                system.parts[name].start()


async def _forget(watching: Any) -> None:
    with contextlib.suppress(nats.errors.Error):
        await watching.unsubscribe()


@contextlib.asynccontextmanager
async def paused(system: System, order: FaultOrder) -> AsyncIterator[None]:
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
