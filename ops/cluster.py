"""`threadwax dataflow --processes N`: one dataflow in several processes on this machine.

Each process serves a part of the users. A Bytewax cluster is fail-stop: if one process dies, all
of them end and are restarted.
"""

import asyncio
import sys
from typing import Final

from dataflow.recovery_store import CannotMake, recovery_store
from ops.ports import free_port
from ops.supervise import Backoff, Child, Program, stop_in_reverse
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
    try:
        recovery_store(settings.home)  # created once, so that the processes do not race for it
    except CannotMake as error:
        lifecycle.say(str(error))
        return lifecycle.CANNOT_START
    addresses = ";".join(f"127.0.0.1:{free_port()}" for _ in range(processes))
    children = [_child(settings, number, addresses) for number in range(processes)]
    stop = asyncio.create_task(lifecycle.wait_for_stop())
    for child in children:
        child.start()
    ready = asyncio.create_task(_report_ready(children))
    await stop
    ready.cancel()
    # Together, because none of them ends before the others.
    await asyncio.gather(*(child.stop() for child in children))
    await stop_in_reverse(children)
    return 0


async def _report_ready(children: list[Child]) -> None:
    await asyncio.gather(*(child.ready() for child in children))
    lifecycle.ready(f"{len(children)} processes")


def _child(settings: Settings, number: int, addresses: str) -> Child:
    environment = {
        "THREADWAX_HOME": str(settings.home),
        "THREADWAX_LOG_LEVEL": settings.log_level,
        "THREADWAX_CLUSTER": addresses,
        "THREADWAX_PROCESS_ID": str(number),
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
