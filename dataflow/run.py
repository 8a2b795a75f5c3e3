"""`threadwax dataflow`: one process of the conversations flow, from its settings to its end.

It must never run twice on one data folder: the recovery store has one owner.
"""

import asyncio
import os
import random
import sqlite3
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, NoReturn

from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig
from bytewax.run import cli_main

from dataflow.account_links import AccountLinks
from dataflow.answering import Answering
from dataflow.budget_settings import rules_of
from dataflow.conversations_flow import conversations_flow
from dataflow.dead_letters import DeadLetterService
from dataflow.erasing.erasing import Erasing
from dataflow.eviction.idle import IdleConversations
from dataflow.eviction.store import FILE, EvictedStore
from dataflow.io_thread import IoThread
from dataflow.journal_capacity import JournalCapacity
from dataflow.model.check import EXPERIMENT, check, checked
from dataflow.model.client import ModelClient
from dataflow.model.endpoint import (
    Endpoint,
    endpoint_of,
    experiment_endpoint,
    fallback_of,
    window_of,
)
from dataflow.readiness import Ready, readiness
from dataflow.recovery_store import BrokenInCluster, CannotMake, recovery_store, set_aside
from dataflow.shutdown import block_signals, end_on_signal
from dataflow.variants import Variant, Variants, window_with
from shared import lifecycle, names, tuning
from shared.bus import Bus
from shared.connection import CLOSED_EXIT_CODE, Refused
from shared.experiments import Experiment
from shared.http_status import CannotListen, serve_status
from shared.lock import AlreadyRunning, locked
from shared.settings import Settings
from shared.sqlite_errors import is_broken

EPOCH: Final = timedelta(seconds=1)
"""A crash rewinds at most this much. A second leaves the median latency unchanged."""

DRAIN_S: Final = 20.0
"""Time for answers in progress at a stop. Unfinished questions are asked again after the start."""

NEEDS: Final = names.stream_info(names.PROMPTS)
"""The first request to JetStream, which shows whether it is allowed."""


@dataclass(frozen=True, slots=True)
class _Process:
    """The parts of a process that has started."""

    lock: int
    store: Path
    io: IoThread
    bus: Bus
    models: tuple[ModelClient, ...]
    evicted: EvictedStore
    erasing: Erasing
    links: AccountLinks | None
    flow: Dataflow

    def close(self) -> None:
        """Closes the parts after the dataflow has ended."""
        self.io.call(self.erasing.close())
        if self.links is not None:
            self.io.call(self.links.close())
        self.io.call(self.evicted.close())
        for model in self.models:
            self.io.call(model.close())
        self.io.call(self.bus.close())
        os.close(self.lock)


def main(settings: Settings, *, drain_s: float = DRAIN_S) -> int:
    """Runs until it is told to stop; returns the exit code.

    Answers in progress then have `drain_s` seconds.
    """
    block_signals()
    try:
        process = _start(settings, drain_s)
    except (AlreadyRunning, CannotMake, BrokenInCluster, Refused, CannotListen) as error:
        lifecycle.say(str(error))
        return lifecycle.CANNOT_START
    addresses = _addresses(settings)
    cli_main(  # type: ignore[no-untyped-call]
        process.flow,
        process_id=settings.process_id if addresses else None,
        addresses=addresses or None,
        epoch_interval=EPOCH,
        recovery_config=RecoveryConfig(str(process.store)),  # type: ignore[no-untyped-call]
    )
    process.close()
    return 0


def _start(settings: Settings, drain_s: float) -> _Process:
    """Starts everything except the workers.

    Raises:
        AlreadyRunning, CannotMake, BrokenInCluster, Refused, CannotListen: it cannot start.
    """
    alone = not _addresses(settings)
    lock = locked(
        settings.home / "dataflow" / f"lock-{settings.process_id}", "the conversations flow"
    )
    store = recovery_store(settings.home, alone=alone)
    evicted = _evicted_store(store, alone=alone)
    tuning.take_turns_often()
    io = IoThread(settings.home, clustered=not alone)
    # `answering` exists before the workers take steps, and nothing is drained before that.
    end_on_signal(io, lambda: io.call(answering.stop(drain_s), timeout_s=None), drain_s=drain_s)

    fixed = None if settings.demo_model else endpoint_of(settings)
    fallback = fallback_of(settings)
    checking = asyncio.run_coroutine_threadsafe(checked(fixed, fallback), io.loop)
    connecting = Bus.connect(settings.bus_url, name="dataflow", wait_s=None, needs=NEEDS)
    bus = io.call(connecting, timeout_s=None)
    found = checking.result()
    window = window_of(settings, reported_tokens=found.context_tokens)
    model = _model_client(settings, fixed, fallback, answer_tokens=window.answer_tokens)
    capacity = JournalCapacity(bus)
    io.spawn(capacity.watch())
    budgets = rules_of(settings, window)
    variants = _variants(settings, fixed, model, answer_tokens=window.answer_tokens)
    window = window_with(window, settings.experiments)
    answering = Answering(bus, model, capacity, estimates=budgets is not None, variants=variants)
    idle = IdleConversations(_evict_after_s(settings))
    erasing = Erasing(bus, store, alone=_is_one_machine(settings))
    io.call(DeadLetterService(bus).start())
    links = AccountLinks(bus) if settings.link_accounts == "on" else None
    flow = conversations_flow(
        io,
        bus,
        answering,
        window=window,
        evicted=evicted,
        idle=idle,
        erasing=erasing,
        budgets=budgets,
        keep_days=settings.keep_days,
        links=links,
    )
    if settings.keep_days is not None:
        io.spawn(erasing.keep_only(settings.keep_days, window))

    _serve_status(settings, io, readiness(bus, model.health, capacity))
    complaints = budgets.complaints() if budgets else ()
    for line in (*found.complaints, *complaints, *io.call(_experiment_faults(settings))):
        lifecycle.say(line)
    experiments = "".join(f"; experiment {one.name}" for one in settings.experiments)
    where = f"NATS at {bus.server}; data in {settings.home}"
    lifecycle.ready(f"{found.models}{experiments}; {where}")
    clients = (model, *variants.clients)
    return _Process(lock, store, io, bus, clients, evicted, erasing, links, flow)


def _addresses(settings: Settings) -> list[str]:
    """The addresses of the processes in a cluster; empty if this process is alone."""
    return settings.cluster.split(";") if settings.cluster else []


def _evict_after_s(settings: Settings) -> float | None:
    """When idle conversations are evicted; None: never, since other machines lack the file."""
    return settings.evict_after_s if _is_one_machine(settings) else None


def _is_one_machine(settings: Settings) -> bool:
    return len({address.rsplit(":", 1)[0] for address in _addresses(settings)}) <= 1


def _evicted_store(store: Path, *, alone: bool) -> EvictedStore:
    """The file of evicted conversations. If it cannot be used, now or later, the process ends."""

    def on_unusable(error: sqlite3.Error) -> NoReturn:
        if is_broken(error) and alone:
            set_aside(store, f"{FILE}: {error}")
            os._exit(CLOSED_EXIT_CODE)  # started again, it reads everything from the stream
        lifecycle.say(
            f"{store / FILE} cannot be used: {error}. Free some space on the disk, or restore "
            "the file. If you move it away, the conversations in it are forgotten."
        )
        # This is safe like any crash. An exception would pass through Bytewax, as pages of
        # traceback.
        os._exit(lifecycle.CANNOT_START)

    try:
        return EvictedStore(store, on_unusable)
    except sqlite3.Error as error:
        on_unusable(error)


def _model_client(
    settings: Settings, fixed: Endpoint | None, fallback: Endpoint | None, *, answer_tokens: int
) -> ModelClient:
    """The client of the model; `fixed` is None for the demo model, whose address can change."""
    return ModelClient(
        lambda: fixed or endpoint_of(settings),
        answer_tokens=answer_tokens,
        give_up_after_s=settings.model_give_up_s,
        silence_s=settings.model_silence_s,
        rng=random.Random(),  # noqa: S311  (jitter, not a secret)
        fallback=fallback,
    )


def _variants(
    settings: Settings, usual: Endpoint | None, model: ModelClient, *, answer_tokens: int
) -> Variants:
    """The experiments. If the endpoint of one fails, the usual one answers."""

    def client(experiment: Experiment) -> ModelClient:
        if not experiment.changes_model:
            return model
        is_embedded = settings.demo_model and experiment.base_url is None
        own = None if is_embedded else experiment_endpoint(settings, experiment)
        return ModelClient(
            lambda: own or experiment_endpoint(settings, experiment),
            answer_tokens=answer_tokens,
            give_up_after_s=settings.model_give_up_s,
            silence_s=settings.model_silence_s,
            rng=random.Random(),  # noqa: S311  (jitter, not a secret)
            fallback=usual,
        )

    return Variants([Variant(one, client(one)) for one in settings.experiments])


async def _experiment_faults(settings: Settings) -> list[str]:
    """What is wrong with the endpoints of experiments, one line each."""
    remote = [one for one in settings.experiments if one.base_url is not None]
    endpoints = [experiment_endpoint(settings, one) for one in remote]
    results = await asyncio.gather(*(check(endpoint, EXPERIMENT) for endpoint in endpoints))
    return [
        f"experiment {one.name}: {result.complaint}"
        for one, result in zip(remote, results, strict=True) if result.complaint
    ]  # fmt: skip


def _serve_status(settings: Settings, io: IoThread, ready: Ready) -> None:
    """Serves the status page, if a port is set.

    Raises:
        CannotListen: the port is taken, or not allowed.
    """
    if settings.http_port is None:
        return
    io.call(serve_status(settings.http_host, settings.http_port, folder=settings.home, ready=ready))
