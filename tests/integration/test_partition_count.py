"""THREADWAX_PARTITIONS is refused after the first set-up, by everything that reads it."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.nats import set_up_streams
from ops.nats_server import NatsServer
from shared import lifecycle, names
from shared.bus import Bus
from shared.partitioning import DEFAULT_PARTITIONS, transform
from tests.running import ROOT

REFUSED = f"has {DEFAULT_PARTITIONS} partitions, but 8 are wanted"
REMEDY = f"Set THREADWAX_PARTITIONS={DEFAULT_PARTITIONS} or remove it"
WITHIN_S = 60.0


async def refusal(*command: str, home: Path, **extra: str) -> tuple[int | None, str]:
    """Runs a command with another number of partitions: its exit code and output."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("NATS", "OPENAI", "THREADWAX"))}
    env |= {"THREADWAX_HOME": str(home), "THREADWAX_WEB": "off", "THREADWAX_PARTITIONS": "8"}
    env |= {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "THREADWAX_MODEL": "small"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops", *command, env=env | extra, cwd=ROOT,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = await asyncio.wait_for(process.communicate(), WITHIN_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("nats", "--setup-only"), lifecycle.CANNOT_START),
        (("up", "--no-chat"), lifecycle.CANNOT_START),
        (("dataflow",), lifecycle.CANNOT_START),
        (("doctor",), 1),
    ],
)
async def test_another_number_is_refused_on_a_server(
    nats: NatsServer, bus: Bus, tmp_path: Path, command: tuple[str, ...], code: int
) -> None:
    """The message has the number that is right; the stream stays as it is."""
    ended, output = await refusal(*command, home=tmp_path / "home", NATS_URL=nats.url)
    assert (ended, output.count(REFUSED), "Traceback" in output) == (code, 1, False), output
    assert REMEDY in output
    live = (await bus.js.stream_info(names.PROMPTS)).config.subject_transform
    assert live is not None
    assert live.dest == transform(DEFAULT_PARTITIONS)


@pytest.mark.parametrize("command", [("nats",), ("up", "--no-chat")])
async def test_another_number_is_refused_in_a_data_folder(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    """The embedded server ends, and is not started again and again."""
    server = NatsServer(tmp_path / "nats", port=0)
    try:
        server.start()
        await set_up_streams(server.url)
    finally:
        server.close()
    ended, output = await refusal(*command, home=tmp_path)
    assert (ended, output.count(REFUSED), "Traceback" in output) == (
        lifecycle.CANNOT_START,
        1,
        False,
    ), output
    assert REMEDY in output
