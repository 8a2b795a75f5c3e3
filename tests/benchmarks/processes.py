"""Starts the measured processes and those that create the load, and reads their resources."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from ops.nats import set_up_streams
from ops.nats_server import NatsServer
from tests.fakes.discord import FakeDiscord
from tests.fakes.slack import FakeSlack
from tests.running import ROOT, Running, dataflow

TICKS: float = os.sysconf("SC_CLK_TCK")
NO_MODEL = "http://127.0.0.1:1/v1"


@contextlib.asynccontextmanager
async def platforms() -> AsyncIterator[tuple[FakeSlack, FakeDiscord]]:
    """Starts a fake Slack and a fake Discord."""
    slack, discord = await FakeSlack().start(), await FakeDiscord().start()
    try:
        yield slack, discord
    finally:
        await slack.stop()
        await discord.stop()


def cpu_s(pid: int) -> float:
    """Returns the processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mb(pid: int) -> float:
    """Returns the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


def pid_of(running: Running) -> int:
    assert running.process is not None
    return running.process.pid


@contextlib.asynccontextmanager
async def nats(home: Path) -> AsyncIterator[NatsServer]:
    """Runs a nats-server with the project's streams, which are empty."""
    server = NatsServer(home / "nats", port=0)
    await asyncio.to_thread(server.start)
    try:
        await set_up_streams(server.url)
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def model(**options: float) -> Iterator["Model"]:
    """Runs the lean model server. `options`: those of `model_server`."""
    arguments = [f"--{name}={value}" for name, value in options.items()]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.model_server", *arguments],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield Model(process.stdout.readline().strip(), process.pid)
    finally:
        process.kill()
        process.communicate()


class Model:
    """A running model server."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid

    def times(self) -> dict[str, list[float]]:
        """Returns for each question the times of the request, the first byte and the last byte."""
        with urllib.request.urlopen(self.url.replace("/v1", "/times")) as response:  # noqa: S310
            found: dict[str, list[float]] = json.load(response)
        return found


@contextlib.asynccontextmanager
async def started(running: Running) -> AsyncIterator[Running]:
    """Starts the process, waits until it is ready, and kills it at the end."""
    try:
        running.start()
        await running.ready()
        yield running
    finally:
        running.kill()


def module(name: str, *arguments: object, home: Path, env: dict[str, str] | None = None) -> Running:
    """Returns the process of a benchmark program that prints when it is ready."""
    home.mkdir(parents=True, exist_ok=True)
    code = (
        f"import sys, runpy; sys.argv = {[name, *map(str, arguments)]!r}; "
        f"runpy.run_module('tests.benchmarks.{name}', run_name='__main__')"
    )
    return Running("-c", code, log=home / f"{name}.log", env=env or {})


def flow(home: Path, nats_url: str, model_url: str, **env: str) -> Running:
    """Returns the dataflow as production runs it."""
    return dataflow(home, nats_url, model_url, **env)


def flow_without_model(
    home: Path, nats_url: str, *, delay_s: float = 0.0, chars: int = 2
) -> Running:
    """Returns the dataflow with a model call that waits and answers with `chars` characters."""
    home.mkdir(parents=True, exist_ok=True)
    return module(
        "flow_without_model", delay_s, chars, home=home,
        env={
            "NATS_URL": nats_url, "THREADWAX_HOME": str(home), "OPENAI_BASE_URL": NO_MODEL,
            "OPENAI_API_KEY": "test-key", "THREADWAX_MODEL": "fake",
        },
    )  # fmt: skip


def floor(home: Path, nats_url: str, model_url: str = "", *, delay_s: float = 0.0) -> Running:
    """Returns the shortest asyncio program on the same streams."""
    return module("floor", nats_url, model_url or "-", delay_s, home=home)


async def output_of(name: str, *arguments: object) -> Any:
    """Runs a benchmark program to its end. Returns the JSON it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"tests.benchmarks.{name}", *map(str, arguments),
        stdout=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    try:
        out, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    assert process.returncode == 0, f"{name} failed"
    return json.loads(out)
