"""The start and the memory of `threadwax up`, compared with the same parts as separate programs."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.processes import NO_MODEL, platforms
from tests.running import ROOT

PARTS = ("nats", "gateway", "dataflow", "slack", "discord")
SETTLE_S = 5.0


async def measure(home: Path) -> list[Figure]:
    """Measures starts on a data folder that exists, as after the first start."""
    async with platforms() as (slack, discord):
        settings = {
            "THREADWAX_HOME": str(home / "data"), "THREADWAX_WEB": "off",
            "OPENAI_API_KEY": "test-key", "OPENAI_BASE_URL": NO_MODEL, "THREADWAX_MODEL": "fake",
            **slack.env, **discord.env,
        }  # fmt: skip
        without, everything = {"THREADWAX_RECORDER": "off"}, ("recorder", *PARTS)
        await _of_up(settings, everything)  # creates the streams and the database
        start_s, shared_mb = await _of_up(settings | without, PARTS)
        apart_s, apart_mb = await _of_programs(settings, PARTS)
        all_start_s, all_shared_mb = await _of_up(settings, everything)
        all_apart_s, all_apart_mb = await _of_programs(settings, everything)
    floor = "each part as a program of its own"
    at_most = Target("value", at_most=200.0)
    in_time = Target("value", at_most=2.0)
    return [
        Figure("up with both adapters, without the recorder: memory (PSS)", shared_mb, "MB",
               floor, apart_mb, at_most),
        Figure("up with both adapters, without the recorder: all parts ready", start_s, "s",
               floor, apart_s, in_time),
        Figure("up with both adapters: memory (PSS)", all_shared_mb, "MB", floor, all_apart_mb),
        Figure("up with both adapters: all parts ready", all_start_s, "s",
               floor, all_apart_s, in_time),
    ]  # fmt: skip


async def _of_up(settings: dict[str, str], parts: tuple[str, ...]) -> tuple[float, float]:
    """Returns the seconds until all parts are ready, and the memory of all processes in MB."""
    began = time.monotonic()
    process = await _command("up", "--no-chat", **settings)
    try:
        assert process.stderr is not None
        missing = set(parts)
        while missing:
            line = (await process.stderr.readline()).decode()
            assert line, f"up ended without {missing}"
            missing -= {name for name in missing if line.startswith(f"{name:<10} ready")}
        took_s = time.monotonic() - began
        await asyncio.sleep(SETTLE_S)
        return took_s, sum(map(_pss_mb, _with_children(process.pid)))
    finally:
        process.terminate()
        await process.communicate()


async def _of_programs(settings: dict[str, str], parts: tuple[str, ...]) -> tuple[float, float]:
    """Returns the same of parts that are started one by one, all at the same time."""
    began = time.monotonic()
    supervised = settings | {"THREADWAX_SUPERVISED": "1"}
    processes = [await _command(name, **supervised) for name in parts]
    try:
        await asyncio.gather(*map(_ready, processes))
        took_s = time.monotonic() - began
        await asyncio.sleep(SETTLE_S)
        return took_s, sum(
            _pss_mb(pid) for process in processes for pid in _with_children(process.pid)
        )
    finally:
        for process in processes:
            process.terminate()
        await asyncio.gather(*(process.communicate() for process in processes))


async def _command(*arguments: str, **settings: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops", *arguments, env={**os.environ, **settings}, cwd=ROOT,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


async def _ready(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        if line.startswith(b"READY"):
            return
    raise AssertionError("it ended before it was ready")


def _with_children(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _with_children(int(child))


def _pss_mb(pid: int) -> float:
    """The proportional memory: a page that several processes share counts for each in part."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)
