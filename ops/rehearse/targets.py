"""The endpoints of candidate and judge, from the options and the settings.

It must never send the key of one endpoint to another one.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from dataflow.model.dialects import DEMO_MODEL, DIALECTS, dialect_of
from dataflow.model.endpoint import Endpoint, endpoint_of
from ops.finetune import adapters
from ops.rehearse.errors import WrongUsage
from shared import lifecycle
from shared.model_settings import LOCAL
from shared.settings import Settings

DEMO: Final = "demo"
"""The name of the embedded model with the adapter that it has by default."""

START_S: Final = 60.0
POLL_S: Final = 0.05
STOP_S: Final = 5.0
NO_KEY: Final = "none"
"""Local servers take any key."""


@contextmanager
def target(
    settings: Settings, model: str, base_url: str | None, api_key_env: str | None
) -> Iterator[Endpoint]:
    """The endpoint that options name; `demo` and `local:NAME` get a server of their own.

    Raises:
        WrongUsage: the key is missing, no endpoint is configured, or the server does not start.
    """
    if base_url is None and (model == DEMO or model.startswith(LOCAL)):
        with _embedded(settings, model) as endpoint:
            yield endpoint
        return
    yield _remote(settings, model, base_url, api_key_env)


def _remote(
    settings: Settings, model: str, base_url: str | None, api_key_env: str | None
) -> Endpoint:
    key = None
    if api_key_env is not None and not (key := os.environ.get(api_key_env)):
        raise WrongUsage(f"the environment variable {api_key_env} is not set: put the key into it")
    if base_url is not None:
        dialect = DIALECTS[dialect_of(base_url)]
        return Endpoint(base_url, key or NO_KEY, model, dialect, settings.reasoning_effort)
    if settings.demo_model:
        raise WrongUsage(
            "no endpoint is configured: add --base-url and --api-key-env, set OPENAI_API_KEY or "
            f"OPENAI_BASE_URL, or use {DEMO} or {LOCAL}NAME, which run on this machine"
        )
    configured = endpoint_of(settings, to_ask=False)
    return replace(configured, model=model, api_key=key or configured.api_key, secret=None)


@contextmanager
def _embedded(settings: Settings, model: str) -> Iterator[Endpoint]:
    """A demo model of our own: the running one may have loaded another adapter."""
    with tempfile.TemporaryDirectory(prefix="threadwax-rehearse-") as folder:
        home = Path(folder)
        (home / adapters.FOLDER).symlink_to(settings.home / adapters.FOLDER)
        own = settings.model_copy(
            update={"home": home, "model": model, "openai_api_key": None, "openai_base_url": None}
        )
        log = home / "log"
        with log.open("wb") as output:
            server = subprocess.Popen(
                [sys.executable, "-m", "ops", "model"],
                env={
                    **os.environ, **lifecycle.child_environment(),
                    "THREADWAX_HOME": folder, "THREADWAX_MODEL": model,
                    "THREADWAX_EXPERIMENTS": "[]",
                },
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=output,
            )  # fmt: skip
        try:
            _wait_until_ready(server, own.embedded_model_file, log)
            name = DEMO_MODEL if model == DEMO else model
            yield replace(endpoint_of(own), model=name)
        finally:
            server.terminate()
            try:
                server.wait(STOP_S)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait_until_ready(server: "subprocess.Popen[bytes]", file: Path, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not file.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            lines = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise WrongUsage(f"the model on this machine does not start: {lines[-1]}")
        time.sleep(POLL_S)
