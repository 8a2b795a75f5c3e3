"""`threadwax dataflow`: one process of the conversations flow, from its settings to its end.

It must never run twice on one data folder: the recovery store has one owner.
"""

import json
import os
import random
import sqlite3
import sys
from datetime import timedelta
from typing import Final, NoReturn

from bytewax.recovery import RecoveryConfig
from bytewax.run import cli_main

from dataflow import at_rest
from dataflow.answering import Answering
from dataflow.conversations_flow import conversations_flow
from dataflow.idle import Idle
from dataflow.io_thread import IoThread
from dataflow.journal_room import JournalRoom
from dataflow.model.client import Endpoint, ModelClient
from dataflow.model.dialects import (
    DEMO,
    DEMO_MODEL,
    DEMO_SYSTEM_PROMPT,
    DIALECTS,
    OPENAI_DEFAULT_MODEL,
    dialect_of,
)
from dataflow.model.in_words import model_in_words
from dataflow.recovery_store import BrokenInCluster, CannotMake, recovery_store, set_aside
from dataflow.request import Window
from dataflow.stopping import block_signals, end_on_signal
from shared import lifecycle, names
from shared.broken_sqlite import is_broken
from shared.bus import Bus
from shared.connection import CLOSED_EXIT_CODE, Refused
from shared.http_status import CannotListen, serve_status
from shared.lock import Held, locked
from shared.private_file import private_text
from shared.settings import Settings

EPOCH: Final = timedelta(seconds=1)
"""What a crash rewinds at most. Measured: a second leaves the median latency unchanged."""

DRAIN_S: Final = 20.0
"""For answers under way at a stop. Questions that take longer are asked again after the start."""

SWITCH_INTERVAL_S: Final = 0.000_05
"""After this the asyncio thread gets its turn from a worker amid its steps, or the other way round.
With Python's 5 ms replies at p99 took a third longer, and a tenth fewer were given in a second."""

DEMO_CONTEXT_TOKENS: Final = 2048
"""One slot of the embedded server."""

DEMO_ANSWER_TOKENS: Final = 200
"""These weights seldom say something new after that, and a person waits for it."""

DEFAULT_SYSTEM_PROMPT: Final = "You are a helpful assistant."
DEFAULT_CONTEXT_TOKENS: Final = 32_768
NEEDS: Final = f"STREAM.INFO.{names.PROMPTS}"
"""What the flow asks JetStream first."""

ANSWER_SHARE: Final = 4
"""A quarter of the window is for the answer, unless told otherwise."""


def window_of(settings: Settings) -> Window:
    """The context window that the settings describe."""
    if settings.demo_model:
        context, answer, prompt = DEMO_CONTEXT_TOKENS, DEMO_ANSWER_TOKENS, DEMO_SYSTEM_PROMPT
    else:
        context = settings.context_tokens or DEFAULT_CONTEXT_TOKENS
        answer, prompt = context // ANSWER_SHARE, DEFAULT_SYSTEM_PROMPT
    return Window(
        settings.context_tokens or context,
        settings.answer_tokens or answer,
        settings.system_prompt or prompt,
    )


def endpoint_of(settings: Settings) -> Endpoint:
    """Where the model is now.

    Raises:
        OSError: it should be the demo model, and that is not running.
    """
    if settings.demo_model:
        left = private_text(settings.embedded_model_file)
        if left is None:
            raise FileNotFoundError("the demo model is not running")
        running = json.loads(left)
        return Endpoint(running["base_url"], running["api_key"], DEMO_MODEL, DEMO)
    name = settings.dialect or dialect_of(settings.openai_base_url)
    key = settings.openai_api_key
    return Endpoint(
        settings.openai_base_url,
        key.get_secret_value() if key else "none",  # local servers take any
        settings.model or OPENAI_DEFAULT_MODEL,
        DIALECTS[name],
    )


def _hosts(addresses: list[str]) -> set[str]:
    """The machines of a cluster. Its processes share what rests only where that is one."""
    return {address.rsplit(":", 1)[0] for address in addresses}


def main(settings: Settings, *, drain_s: float = DRAIN_S) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code.

    Answers under way then have `drain_s` seconds.
    """
    addresses = settings.cluster.split(";") if settings.cluster else []
    block_signals()
    try:
        lock = locked(
            settings.home / "dataflow" / f"lock-{settings.process_id}", "the conversations flow"
        )
        store = recovery_store(settings.home, alone=not addresses)
    except (Held, CannotMake, BrokenInCluster) as error:
        lifecycle.say(str(error))
        return lifecycle.CANNOT_START

    sys.setswitchinterval(SWITCH_INTERVAL_S)

    def unusable(error: sqlite3.Error) -> NoReturn:
        if is_broken(error) and not addresses:
            set_aside(store, f"{at_rest.FILE}: {error}")
            os._exit(CLOSED_EXIT_CODE)  # started again, it reads everything from the stream
        lifecycle.say(
            f"{store / at_rest.FILE} cannot be used: {error}. Make room on the disk or restore the "
            "file; moved away, the conversations that rested in it are forgotten."
        )
        # As after a crash, which loses nothing: through Bytewax it would be pages of traceback.
        os._exit(lifecycle.CANNOT_START)

    try:
        resting = at_rest.AtRest(store, unusable)
    except sqlite3.Error as error:
        unusable(error)

    io = IoThread(settings.home, clustered=bool(addresses))

    def drain() -> None:
        io.call(answering.stop(drain_s), timeout_s=None)

    end_on_signal(io, drain, drain_s=drain_s)
    try:
        bus = io.call(
            Bus.connect(settings.bus_url, name="dataflow", wait_s=None, needs=NEEDS), timeout_s=None
        )
    except Refused as error:
        lifecycle.say(str(error))
        return lifecycle.CANNOT_START
    window = window_of(settings)
    fixed = None if settings.demo_model else endpoint_of(settings)
    model = ModelClient(
        lambda: fixed or endpoint_of(settings),
        answer_tokens=window.answer_tokens,
        give_up_after_s=settings.model_give_up_s,
        silence_s=settings.model_silence_s,
        rng=random.Random(),  # noqa: S311  (jitter, not a secret)
    )
    room = JournalRoom(bus)
    io.spawn(room.watch())
    answering = Answering(bus, model, room)
    idle = Idle(settings.rest_after_s if len(_hosts(addresses)) <= 1 else None)
    flow = conversations_flow(io, bus, answering, window=window, at_rest=resting, idle=idle)

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
    lifecycle.ready(
        f"model {model_in_words(settings)}; NATS at {bus.server}; data in {settings.home}"
    )
    cli_main(  # type: ignore[no-untyped-call]
        flow,
        process_id=settings.process_id if addresses else None,
        addresses=addresses or None,
        epoch_interval=EPOCH,
        recovery_config=RecoveryConfig(str(store)),  # type: ignore[no-untyped-call]
    )
    io.call(resting.close())
    io.call(model.close())
    io.call(bus.close())
    os.close(lock)
    return 0
