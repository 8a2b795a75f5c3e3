"""`threadwax dataflow --processes N`: several dataflow processes on this machine.

Each serves a share of the users. If one dies, the others serve its users until it is back.
"""

import asyncio
import sys
from typing import Final

from ops.supervise import Backoff, Child, Ended, Program
from shared import lifecycle
from shared.log import logger
from shared.settings import Settings

STOP_S: Final = 25.0
"""Each process finishes answers in progress for up to 20 s."""

BACKOFF: Final = Backoff(first_s=0.5, last_s=10.0)


def main(settings: Settings, processes: int) -> int:
    """Runs until a signal stops it; returns the exit code."""
    return asyncio.run(_run(settings, processes))


async def _run(settings: Settings, processes: int) -> int:
    children = [_child(settings, number) for number in range(processes)]
    stopped = asyncio.create_task(lifecycle.wait_for_stop())
    for child in children:
        child.start()
    ready = asyncio.create_task(_report_ready(children))
    await asyncio.wait({stopped, ready}, return_when=asyncio.FIRST_COMPLETED)
    why = "" if stopped.done() or ready.cancelled() else _why_not(ready)
    if why:
        lifecycle.say(why)
    else:
        await stopped
    ready.cancel()
    await asyncio.gather(*(child.stop() for child in children))
    return lifecycle.CANNOT_START if why else 0


async def _report_ready(children: list[Child]) -> None:
    await asyncio.gather(*(child.ready() for child in children))
    lifecycle.ready(f"{len(children)} processes")


def _why_not(ready: asyncio.Task[None]) -> str:
    """Why a process cannot start; empty: all of them have."""
    error = ready.exception()
    return str(error) if isinstance(error, Ended) else ""


def _child(settings: Settings, number: int) -> Child:
    environment = {
        "THREADWAX_HOME": str(settings.home),
        "THREADWAX_LOG_LEVEL": settings.log_level,
    }
    if settings.http_port is not None:
        environment["THREADWAX_HTTP_PORT"] = str(settings.http_port and settings.http_port + number)
    name = f"dataflow-{number}"
    program = Program(
        name,
        (sys.executable, "-m", "ops", "dataflow"),
        settings.home / "logs" / f"{name}.log",
        environment,
        STOP_S,
    )
    return Child(
        program, lambda name, text: logger().info("process", name=name, text=text), BACKOFF
    )
