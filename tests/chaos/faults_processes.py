"""Faults of processes: SIGKILL at any time or at a chosen moment, SIGTERM, and a pause."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from typing import Any, Final

import nats.errors

from tests.chaos.fault_plan import PlannedFault
from tests.chaos.system import System

ENDS_WITHIN_S: Final = 40.0
"""Limit after SIGTERM. The dataflow gives answers in progress 20 s to finish."""


@contextlib.asynccontextmanager
async def terminated(system: System, planned: PlannedFault) -> AsyncIterator[None]:
    if planned.target == "nats":
        await asyncio.to_thread(
            system.server.kill if planned.kind == "kill" else system.server.stop
        )
        try:
            yield
        finally:
            await system.start_nats()
        return
    part = system.parts[planned.target]
    if planned.kind == "kill":
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
        if planned.kind == "term":
            code: int | None = None
            try:
                code = await asyncio.wait_for(asyncio.to_thread(process.wait), ENDS_WITHIN_S)
            except TimeoutError:
                process.kill()
            # Before its handlers are installed, and after its loop has ended, SIGTERM kills the
            # process.
            if code not in {0, -signal.SIGTERM}:
                part.ended_by_itself.append(-99 if code is None else code)
        part.start()


@contextlib.asynccontextmanager
async def killed_at(system: System, planned: PlannedFault) -> AsyncIterator[None]:
    """Kills a process at a chosen moment. If the moment does not come, nothing happens."""
    name, moment = planned.target.split(" at a ")
    phase = "after" if planned.twist else "before"
    left = planned.amount  # kill at the first, second or third such moment

    def moment_came() -> None:
        nonlocal left
        left -= 1
        if left:
            return
        if name == "nats":
            system.server.kill()
        else:
            system.parts[name].kill()

    async def on_message(_: object) -> None:
        moment_came()

    def at_slack(_: str, when: str) -> None:
        if when == phase:
            moment_came()

    def at_discord(method: str, _: str, when: str) -> None:
        if when == phase and method != "GET":
            moment_came()

    platform = "*" if name in {"dataflow", "nats"} else name
    subjects = {
        "reply": f"replies.{platform}.>", "partial": f"partials.{platform}.>",
        "question": f"prompts.{platform}.>",
    }  # fmt: skip
    async with contextlib.AsyncExitStack() as stack:
        if moment in subjects:
            stack.push_async_callback(_forget, await system.bus.watch(subjects[moment], on_message))
        elif moment == "model call":
            stack.callback(setattr, system.model, "hook", system.model.hook)
            system.model.hook = moment_came
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
async def paused(system: System, planned: PlannedFault) -> AsyncIterator[None]:
    part = system.parts.get(planned.target)
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
