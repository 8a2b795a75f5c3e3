"""`threadwax dataflow`: one process of the conversations flow, from its settings to its end.

It must never run twice on one data folder: the recovery store has one owner.
"""

import asyncio
import os
import random
import sqlite3
from datetime import timedelta
from typing import Final, NoReturn

from bytewax.recovery import RecoveryConfig
from bytewax.run import cli_main

from dataflow.answering import Answering
from dataflow.conversations_flow import conversations_flow
from dataflow.eviction.idle import Idle
from dataflow.eviction.store import FILE, EvictedStore
from dataflow.io_thread import IoThread
from dataflow.journal_capacity import JournalRoom
from dataflow.model.check import checked
from dataflow.model.client import ModelClient
from dataflow.model.endpoint import endpoint_of, fallback_of, window_of
from dataflow.recovery_store import BrokenInCluster, CannotMake, recovery_store, set_aside
from dataflow.shutdown import block_signals, end_on_signal
from shared import lifecycle, names, tuning
from shared.bus import Bus
from shared.connection import CLOSED_EXIT_CODE, Refused
from shared.http_status import CannotListen, serve_status
from shared.lock import AlreadyRunning, locked
from shared.settings import Settings
from shared.sqlite_errors import is_broken

EPOCH: Final = timedelta(seconds=1)
"""What a crash rewinds at most. Measured: a second leaves the median latency unchanged."""

DRAIN_S: Final = 20.0
"""For answers under way at a stop. Questions that take longer are asked again after the start."""

NEEDS: Final = names.stream_info(names.PROMPTS)
"""What the flow asks JetStream first."""


def _hosts(addresses: list[str]) -> set[str]:
    """The machines of a cluster. Its processes share what rests only where that is one."""
    return {address.rsplit(":", 1)[0] for address in addresses}


def main(settings: Settings, *, drain_s: float = DRAIN_S) -> int:
    """Runs until it is told to stop; returns the exit code.

    Answers under way then have `drain_s` seconds.
    """
    addresses = settings.cluster.split(";") if settings.cluster else []
    block_signals()
    try:
        lock = locked(
            settings.home / "dataflow" / f"lock-{settings.process_id}", "the conversations flow"
        )
        store = recovery_store(settings.home, alone=not addresses)
    except (AlreadyRunning, CannotMake, BrokenInCluster) as error:
        lifecycle.say(str(error))
        return lifecycle.CANNOT_START

    tuning.take_turns_often()

    def unusable(error: sqlite3.Error) -> NoReturn:
        if is_broken(error) and not addresses:
            set_aside(store, f"{FILE}: {error}")
            os._exit(CLOSED_EXIT_CODE)  # started again, it reads everything from the stream
        lifecycle.say(
            f"{store / FILE} cannot be used: {error}. Make room on the disk or restore the "
            "file; moved away, the conversations that rested in it are forgotten."
        )
        # As after a crash, which loses nothing: through Bytewax it would be pages of traceback.
        os._exit(lifecycle.CANNOT_START)

    try:
        evicted = EvictedStore(store, unusable)
    except sqlite3.Error as error:
        unusable(error)

    io = IoThread(settings.home, clustered=bool(addresses))

    def drain() -> None:
        io.call(answering.stop(drain_s), timeout_s=None)

    end_on_signal(io, drain, drain_s=drain_s)
    fixed = None if settings.demo_model else endpoint_of(settings)
    fallback = fallback_of(settings)
    checking = asyncio.run_coroutine_threadsafe(checked(fixed, fallback), io.loop)
    try:
        bus = io.call(
            Bus.connect(settings.bus_url, name="dataflow", wait_s=None, needs=NEEDS), timeout_s=None
        )
    except Refused as error:
        lifecycle.say(str(error))
        return lifecycle.CANNOT_START
    found = checking.result()
    window = window_of(settings, reported_tokens=found.context_tokens)
    model = ModelClient(
        lambda: fixed or endpoint_of(settings),
        answer_tokens=window.answer_tokens,
        give_up_after_s=settings.model_give_up_s,
        silence_s=settings.model_silence_s,
        rng=random.Random(),  # noqa: S311  (jitter, not a secret)
        fallback=fallback,
    )
    room = JournalRoom(bus)
    io.spawn(room.watch())
    answering = Answering(bus, model, room)
    idle = Idle(settings.rest_after_s if len(_hosts(addresses)) <= 1 else None)
    flow = conversations_flow(io, bus, answering, window=window, at_rest=evicted, idle=idle)

    if settings.http_port is not None:
        try:
            io.call(
                serve_status(
                    settings.http_host,
                    settings.http_port,
                    ready=lambda: (
                        bus.connected, "ok" if bus.connected else "NATS does not answer"
                    ),
                )
            )  # fmt: skip
        except CannotListen as error:
            lifecycle.say(str(error))
            return lifecycle.CANNOT_START
    for line in found.complaints:
        lifecycle.say(line)
    lifecycle.ready(f"{found.models}; NATS at {bus.server}; data in {settings.home}")
    cli_main(  # type: ignore[no-untyped-call]
        flow,
        process_id=settings.process_id if addresses else None,
        addresses=addresses or None,
        epoch_interval=EPOCH,
        recovery_config=RecoveryConfig(str(store)),  # type: ignore[no-untyped-call]
    )
    io.call(evicted.close())
    io.call(model.close())
    io.call(bus.close())
    os.close(lock)
    return 0
