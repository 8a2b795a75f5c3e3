"""`threadwax model`: the demo model, an OpenAI-compatible server on loopback with its own key.

Runs alone in its process, because a native abort ends that process. Never listens on the network,
and never reads anything from it.
"""

import asyncio
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Final

import xllamacpp

from ops.demo_weights import NoWeights, weights_path
from ops.ports import HOST
from shared import lifecycle
from shared.lock import AlreadyRunning, locked
from shared.private_file import private_file
from shared.settings import Settings

MODEL_NAME: Final = "demo"

SLOTS: Final = 4
"""Answers at the same time; more only slow each other down on a laptop's cores."""

CONTEXT_TOKENS: Final = 2048
"""For each slot. The weights were trained for 8192, which would take four times the memory."""

ANSWER_TOKENS_LIMIT: Final = 512
"""The small model can ramble without end."""

THREADS_LIMIT: Final = 4
"""It does not get faster with more; half of the machine is for the bot.

Its threads wait for each other at every layer: where they do not all have a core to themselves,
two gave 1 to 11 tokens a second on two shared cores, and one gave 85."""

CACHE_RAM_MIB: Final = 128
"""For prompts seen before; the default of 8192 is more than most laptops can spare."""

KEY_BYTES: Final = 24
HTTP_THREADS_SPARE: Final = 4
"""Beside one a slot: for the list of models and for those who wait."""

NOTICE: Final = (
    "the demo model is small and often wrong; for a real one set OPENAI_API_KEY, "
    "or OPENAI_BASE_URL and THREADWAX_MODEL"
)


def main(settings: Settings) -> int:
    """Serves the model until it is told to stop; returns the exit code."""
    file = settings.embedded_model_file
    try:
        locked(file.with_name("lock"), "the demo model")
        weights = weights_path()
    except (AlreadyRunning, NoWeights) as error:
        lifecycle.say(str(error))
        return lifecycle.CANNOT_START
    file.unlink(missing_ok=True)  # of one that was killed: its port may be another's by now
    key = secrets.token_urlsafe(KEY_BYTES)
    server = xllamacpp.Server(_parameters(weights, key))
    try:
        code = asyncio.run(_serve(settings, f"{server.listening_address}/v1", key))
    except OSError as error:
        lifecycle.say(f"the demo model cannot serve: {error}")
        code = 1
    finally:
        file.unlink(missing_ok=True)
    # Not by way of its destructor, which hangs at times where the server has only just started.
    # It holds nothing that would have to be kept.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _serve(settings: Settings, base_url: str, key: str) -> int:
    # First of all: a stop that comes before it would end the process as it stands.
    stopped = asyncio.create_task(lifecycle.wait_for_stop())
    await asyncio.sleep(0)
    private_file(settings.embedded_model_file, json.dumps({"base_url": base_url, "api_key": key}))
    if not lifecycle.supervised():  # `up` says it itself
        lifecycle.say(NOTICE)
    runner = None
    where = f"{base_url} (demo model)"
    if settings.http_port is not None:
        from shared.http_status import serve_status  # noqa: PLC0415  (only where it is wanted)

        runner, bound = await serve_status(
            settings.http_host, settings.http_port, ready=lambda: (True, "ok")
        )
        where = f"{where} (status on {settings.http_host}:{bound})"
    lifecycle.ready(where)
    await stopped
    if runner is not None:
        await runner.cleanup()
    return 0


def _parameters(weights: Path, key: str) -> xllamacpp.CommonParams:
    threads = max(1, min(THREADS_LIMIT, (os.cpu_count() or 1) // 2))
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights)
    parameters.model_alias = {MODEL_NAME}
    parameters.hostnames = [HOST]
    parameters.port = 0
    parameters.api_keys = [key]
    parameters.cors_origins = f"http://{HOST}"  # no page of the web may ask it
    parameters.n_parallel = SLOTS
    parameters.n_ctx = CONTEXT_TOKENS * SLOTS  # it is divided between the slots
    parameters.n_predict = ANSWER_TOKENS_LIMIT
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    parameters.cpuparams.poll = 0  # a thread that waits sleeps instead of burning its core
    parameters.cpuparams_batch.poll = 0
    parameters.n_threads_http = SLOTS + HTTP_THREADS_SPARE
    parameters.cache_ram_mib = CACHE_RAM_MIB
    parameters.sampling.temp = 0.0  # with the default of 0.8 it is far worse
    parameters.offline = True
    parameters.ui = False
    parameters.endpoint_metrics = True
    parameters.verbosity = 0
    return parameters
