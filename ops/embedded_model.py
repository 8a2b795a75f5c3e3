"""`threadwax model`: the demo model, an OpenAI-compatible server on loopback with its own key.

Has a process of its own, because an abort in native code ends the process. Never uses the network.
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
from ops.finetune.errors import BadInput, UnknownAdapter
from ops.finetune.served import adapter_file, adapters_of_experiments, system_prompt_note
from ops.ports import HOST
from shared import lifecycle
from shared.lock import AlreadyRunning, locked
from shared.model_settings import LOCAL
from shared.private_file import private_file
from shared.settings import Settings

MODEL_NAME: Final = "demo"

SLOTS: Final = 4
"""Answers at the same time. On the cores of a laptop, more of them only slow each other down."""

CONTEXT_TOKENS: Final = 2048
"""Per slot. The weights support 8192, which would need four times the memory."""

ANSWER_TOKENS_LIMIT: Final = 512
"""The small model sometimes never stops."""

THREADS_LIMIT: Final = 4
"""More threads are not faster. At most half of the cores, because the bot needs the others, and
because threads that share a core wait for each other at every layer."""

CACHE_RAM_MIB: Final = 128
"""The prompt cache. The default of 8192 is more than most laptops can spare."""

KEY_BYTES: Final = 24
HTTP_THREADS_SPARE: Final = 4
"""In addition to one per slot, for the list of models and for queued requests."""

NOTICE: Final = (
    "the demo model is small and often wrong; to use a real one, set OPENAI_API_KEY, "
    "or OPENAI_BASE_URL and THREADWAX_MODEL"
)


def main(settings: Settings) -> int:
    """Serves the model until a signal stops it; returns the exit code."""
    file = settings.embedded_model_file
    try:
        locked(file.with_name("lock"), "the demo model")
        weights = weights_path()
        adapter = adapter_file(settings, weights)
        others = adapters_of_experiments(settings, weights)
    except (AlreadyRunning, NoWeights, UnknownAdapter, BadInput) as error:
        lifecycle.say(str(error))
        return lifecycle.CANNOT_START
    file.unlink(missing_ok=True)  # left by a killed process, whose port can be in use by another
    key = secrets.token_urlsafe(KEY_BYTES)
    loaded = [] if adapter is None else [xllamacpp.CommonAdapterLoraInfo(str(adapter), 1.0)]
    # Without an effect unless a request names them by their number.
    numbers = {name: len(loaded) + at for at, name in enumerate(others)}
    loaded += [xllamacpp.CommonAdapterLoraInfo(str(file), 0.0) for file in others.values()]
    server = xllamacpp.Server(parameters_of(weights, loaded, key))
    try:
        code = asyncio.run(_serve(settings, f"{server.listening_address}/v1", key, numbers))
    except OSError as error:
        lifecycle.say(f"the demo model cannot serve: {error}")
        code = 1
    finally:
        file.unlink(missing_ok=True)
    # Skip the server's destructor, which sometimes hangs if the server has just started. There is
    # nothing to save.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _serve(settings: Settings, base_url: str, key: str, adapters: dict[str, int]) -> int:
    # First, because a signal before this would end the process without cleanup.
    stopped = asyncio.create_task(lifecycle.wait_for_stop())
    await asyncio.sleep(0)
    endpoint = {"base_url": base_url, "api_key": key, "adapters": adapters}
    private_file(settings.embedded_model_file, json.dumps(endpoint))
    if settings.adapter is None and not lifecycle.supervised():  # `up` prints it
        lifecycle.say(NOTICE)
    if note := system_prompt_note(settings):
        lifecycle.say(note)
    runner = None
    what = "demo model" if settings.adapter is None else f"{LOCAL}{settings.adapter}"
    where = f"{base_url} ({what})"
    if settings.http_port is not None:
        from shared.http_status import serve_status

        runner, bound = await serve_status(
            settings.http_host, settings.http_port, folder=settings.home, ready=lambda: (True, "ok")
        )
        where = f"{where} (status on {settings.http_host}:{bound})"
    lifecycle.ready(where)
    await stopped
    if runner is not None:
        await runner.cleanup()
    return 0


def parameters_of(
    weights: Path, adapters: list[xllamacpp.CommonAdapterLoraInfo], key: str
) -> xllamacpp.CommonParams:
    """How the server runs. `adapters` have the strength with which they are used by default."""
    threads = max(1, min(THREADS_LIMIT, (os.cpu_count() or 1) // 2))
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights)
    if adapters:
        parameters.lora_adapters = adapters
    parameters.model_alias = {MODEL_NAME}
    parameters.hostnames = [HOST]
    parameters.port = 0
    parameters.api_keys = [key]
    parameters.cors_origins = f"http://{HOST}"  # keep web pages from using it
    parameters.n_parallel = SLOTS
    parameters.n_ctx = CONTEXT_TOKENS * SLOTS  # divided among the slots
    parameters.n_predict = ANSWER_TOKENS_LIMIT
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    parameters.cpuparams.poll = 0  # waiting threads sleep instead of spinning
    parameters.cpuparams_batch.poll = 0
    parameters.n_threads_http = SLOTS + HTTP_THREADS_SPARE
    parameters.cache_ram_mib = CACHE_RAM_MIB
    parameters.sampling.temp = 0.0  # the default of 0.8 gives much worse answers
    parameters.offline = True
    parameters.ui = False
    parameters.endpoint_metrics = True
    parameters.verbosity = 0
    return parameters
