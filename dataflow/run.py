"""`threadwax dataflow`: one process of the conversations flow, from its settings to its end.

Any number of them share the users; `partitions/` decides which process serves whom.
"""

import asyncio
import os
import random
import secrets
import socket
from dataclasses import dataclass
from typing import Final, NoReturn

import nats.js.errors
from bytewax.dataflow import Dataflow
from bytewax.run import cli_main

from dataflow.account_links import AccountLinks
from dataflow.answering import Answering
from dataflow.budget_settings import rules_of
from dataflow.conversation_step import Rules
from dataflow.conversations_flow import conversations_flow
from dataflow.dead_letters import DeadLetterService
from dataflow.erasing.erasing import Erasing
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
from dataflow.model_sink import Doers
from dataflow.partitions.assignment import Assignment
from dataflow.partitions.beats import OtherStore
from dataflow.partitions.idle import IdleConversations
from dataflow.partitions.in_memory import InMemory
from dataflow.partitions.member_locks import MemberLocks
from dataflow.partitions.members import Members
from dataflow.partitions.storage import PartitionStorage
from dataflow.place_budgets import PlaceBudgets
from dataflow.readiness import Ready, readiness
from dataflow.shutdown import block_signals, end_on_signal
from dataflow.store.machine_file import move_file
from dataflow.store.older_files import move_older
from dataflow.store.opening import is_shared, opened
from dataflow.store.store import CannotOpen, OtherPartitionCount, Store
from dataflow.unreadable import Unreadable
from dataflow.variants import Variant, Variants, window_with
from shared import lifecycle, names, tracing, tuning
from shared.bus import Bus
from shared.connection import Refused
from shared.experiments import Experiment
from shared.http_status import CannotListen, serve_status
from shared.interruption import REMEDY
from shared.lock import AlreadyRunning
from shared.log import logger
from shared.partitioning import OtherPartitions, same_partitions
from shared.settings import Settings
from shared.stream_leaders import StreamLeaders

DRAIN_S: Final = 20.0
"""Time for answers in progress at a stop. Unfinished questions are asked again by whoever serves
their users then."""

STREAM_AGAIN_S: Final = 1.0

NEEDS: Final = names.stream_info(names.PROMPTS)
"""The first request to JetStream, which shows whether it is allowed."""

CANNOT_START: Final = (
    AlreadyRunning, CannotListen, CannotOpen, OSError, OtherPartitionCount, OtherPartitions,
    OtherStore, Refused, tracing.CannotTrace,
)  # fmt: skip
"""Why it cannot start; the texts say what to do."""


@dataclass(frozen=True, slots=True)
class _Process:
    """The parts of a process that has started."""

    io: IoThread
    bus: Bus
    store: Store
    locks: MemberLocks
    models: tuple[ModelClient, ...]
    assignment: Assignment
    doers: Doers
    flow: Dataflow

    def close(self) -> None:
        """Closes the parts after the dataflow has ended."""
        doers = self.doers
        users = (self.assignment, doers.erasing, doers.links, doers.places)
        for part in (*users, *self.models, self.store, self.bus):
            if part is not None:
                self.io.call(part.close())
        self.locks.close()


def main(settings: Settings, *, drain_s: float = DRAIN_S) -> int:
    """Runs until it is told to stop; returns the exit code.

    Answers in progress then have `drain_s` seconds.
    """
    block_signals()
    try:
        tracing.start("dataflow")
        process = _start(settings, drain_s)
    except CANNOT_START as error:
        lifecycle.say(str(error))
        return lifecycle.CANNOT_START
    cli_main(process.flow)  # type: ignore[no-untyped-call]
    process.close()
    tracing.stop()
    return 0


def _start(settings: Settings, drain_s: float) -> _Process:
    """Starts everything except the worker.

    Raises:
        one of `CANNOT_START`: it cannot start.
    """
    member = f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}"
    locks = MemberLocks(settings.home, member)
    tuning.take_turns_often()
    io = IoThread()
    # Both exist before the worker takes steps, and nothing is given away before that.
    end_on_signal(
        io, lambda: io.call(_leave(assignment, answering, drain_s), timeout_s=None), drain_s=drain_s
    )

    fixed = None if settings.demo_model else endpoint_of(settings)
    fallback = fallback_of(settings)
    checking = asyncio.run_coroutine_threadsafe(checked(fixed, fallback), io.loop)
    connecting = Bus.connect(settings.bus_url, name="dataflow", wait_s=None, needs=NEEDS)
    bus = io.call(connecting, timeout_s=None)
    partitions = io.call(_partitions(bus, settings.partitions), timeout_s=None)
    store = io.call(opened(settings, partitions, locks.others), timeout_s=None)
    io.call(_move_files(settings, store, partitions), timeout_s=None)
    found = checking.result()
    window = window_of(settings, reported_tokens=found.context_tokens)
    model = _model_client(settings, fixed, fallback, answer_tokens=window.answer_tokens)
    capacity = JournalCapacity(bus)
    io.spawn(capacity.watch())
    budgets = rules_of(settings, window)
    variants = _variants(settings, fixed, model, answer_tokens=window.answer_tokens)
    window = window_with(window, settings.experiments)
    answering = Answering(bus, model, capacity, estimates=budgets is not None, variants=variants)

    in_memory = InMemory(member, IdleConversations(settings.evict_after_s))
    storage = PartitionStorage(io, bus, store, in_memory, answering, partitions=partitions)
    assignment = Assignment(
        io, bus, store, storage, locks=locks, members=Members(member),
        stepped_at=lambda: in_memory.stepped_at, on_other_store=_end_before,
    )  # fmt: skip
    answering.until_certain = assignment.until_certain
    io.call(assignment.join())
    doers = Doers(
        answering,
        Erasing(bus, store, storage, settings.home),
        AccountLinks(bus, store, window) if settings.link_accounts == "on" else None,
        PlaceBudgets(store, budgets) if budgets is not None else None,
    )
    rules = Rules(window, budgets, settings.keep_days, doers.links is not None)
    set_aside = Unreadable(settings.home).set_aside
    flow = conversations_flow(io, in_memory, storage, doers=doers, rules=rules, set_aside=set_aside)
    io.call(DeadLetterService(bus).start())
    if settings.keep_days is not None:
        io.spawn(doers.erasing.keep_only(settings.keep_days))

    leaders = StreamLeaders.of_dataflow(bus)
    io.spawn(leaders.watch())
    _serve_status(settings, io, readiness(bus, leaders, model.health, capacity, assignment))
    complaints = budgets.complaints() if budgets else ()
    for line in (*found.complaints, *complaints, *io.call(_experiment_faults(settings))):
        lifecycle.say(line)
    experiments = "".join(f"; experiment {one.name}" for one in settings.experiments)
    where = f"NATS at {bus.server}; conversations in {store.name}"
    lifecycle.ready(f"{found.models}{experiments}; {where}")
    io.spawn(assignment.run())
    clients = (model, *variants.clients)
    return _Process(io, bus, store, locks, clients, assignment, doers, flow)


async def _move_files(settings: Settings, store: Store, partitions: int) -> None:
    """Moves what earlier versions, or this one on a single machine, have stored."""
    await move_older(settings.home, store, partitions)
    if is_shared(settings):
        await move_file(settings.home, store, partitions)


async def _leave(assignment: Assignment, answering: Answering, drain_s: float) -> None:
    """Gives the users away at once, and finishes the answers in progress."""
    await asyncio.gather(assignment.leave(), answering.stop(drain_s))


async def _partitions(bus: Bus, wanted: int | None) -> int:
    """Into how many partitions the stream of events divides users. Waits until it exists.

    Raises:
        OtherPartitions: not into as many as `wanted`, or in a way that this version does not know.
    """
    is_reported = False
    while True:
        try:
            info = await bus.until_done(lambda: bus.js.stream_info(names.PROMPTS))
        except nats.js.errors.NotFoundError as error:
            if not is_reported:
                is_reported = True
                logger().error("cannot read: it does not exist", what=f"stream {names.PROMPTS}",
                               error=str(error), remedy=REMEDY)  # fmt: skip
            await asyncio.sleep(STREAM_AGAIN_S)
        else:
            return same_partitions(info.config, wanted)


def _end_before(error: OtherStore) -> NoReturn:
    """Ends the process before it does harm; what it has journaled is true everywhere."""
    lifecycle.say(str(error))
    os._exit(lifecycle.CANNOT_START)


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
