"""The adapters under a burst: each real adapter process gets 100 questions in one second."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from nats.aio.msg import Msg

from shared.bus import Bus
from tests.benchmarks.figures import Figure, percentile
from tests.benchmarks.processes import nats
from tests.fakes.discord import FakeDiscord
from tests.fakes.slack import FakeSlack
from tests.running import Running

QUESTIONS = 100
EVERY_S = 0.01

# Runs one adapter as its command does, and records how late its event loop wakes up.
LAG_PROGRAM = """
import asyncio, json, sys, time
import bots.adapter as adapter
from ops import cli
run = adapter._run
async def measured(*args, **named):
    async def measure():
        with open({lags!r}, "a") as file:
            while True:
                before = time.monotonic()
                await asyncio.sleep(0.005)
                now = time.monotonic()
                print(json.dumps([now, now - before - 0.005]), file=file, flush=True)
    task = asyncio.create_task(measure())
    try:
        await run(*args, **named)
    finally:
        task.cancel()
adapter._run = measured
sys.argv = ["threadwax", {name!r}]
cli.main()
"""


def adapter(name: str, home: Path, server: Any, env: dict[str, str]) -> tuple[Running, Path]:
    """Returns one adapter's process, and the file with the lags of its event loop."""
    home.mkdir(parents=True, exist_ok=True)
    lags = home / "lags"
    lags.touch()
    running = Running(
        "-c", LAG_PROGRAM.format(lags=str(lags), name=name), log=home / f"{name}.log",
        env={"NATS_URL": server.url, "THREADWAX_HOME": str(home), **env},
    )  # fmt: skip
    return running, lags


async def burst(server: Any, home: Path, name: str, fake: Any, env: dict[str, str]) -> list[Figure]:
    """Measures the time until each event is stored, and the lag of the adapter's event loop."""
    running, lags = adapter(name, home, server, env)
    running.start()
    bus = await Bus.connect(server.url, name="bench")
    stored: dict[str, float] = {}

    async def see(message: Msg) -> None:
        stored.setdefault(json.loads(message.data)["text"], time.monotonic())

    await bus.watch(f"prompts.{name}.>", see)
    try:
        await running.ready()
        for number in range(QUESTIONS):
            _introduce(fake, number)
        await _say(fake, "warm up", 0)
        async with asyncio.timeout(30):
            while not stored:
                await asyncio.sleep(0.01)
        said: dict[str, float] = {}
        started = time.monotonic()
        for number in range(QUESTIONS):
            said[f"question {number}"] = time.monotonic()
            await _say(fake, f"question {number}", number)
            await asyncio.sleep(max(0.0, started + (number + 1) * EVERY_S - time.monotonic()))
        async with asyncio.timeout(30):
            while not said.keys() <= stored.keys():
                await asyncio.sleep(0.01)
        ended = time.monotonic()
    finally:
        running.kill()
        await bus.close()
        await fake.stop()
    took = [stored[text] - at for text, at in said.items()]
    lag = [late for at, late in map(json.loads, lags.read_text().splitlines())
           if started <= at <= ended]  # fmt: skip
    what = f"{name}, {QUESTIONS} messages in 1 s"
    return [
        Figure(f"{what}, event to stored, p50", percentile(took, 0.5) * 1e3, "ms"),
        Figure(f"{what}, event to stored, last", max(took) * 1e3, "ms"),
        Figure(f"{what}, longest loop lag", max(lag, default=0.0) * 1e3, "ms"),
    ]


def _introduce(fake: Any, number: int) -> None:
    if isinstance(fake, FakeSlack):
        user = f"U{number:03d}"
        fake.users[user] = {"id": user, "team_id": "T1", "profile": {}}
    else:
        fake.users[f"person{number}"] = fake._user(f"person{number}")


async def _say(fake: Any, text: str, number: int) -> None:
    if isinstance(fake, FakeSlack):
        fake.mention(text, user=f"U{number:03d}")
    else:
        await fake.say(text, author=f"person{number}", mention=True)


async def measure(home: Path) -> list[Figure]:
    """Measures both adapters, one after the other."""
    figures = []
    async with nats(home) as server:
        slack = await FakeSlack().start()
        figures += await burst(server, home / "slack", "slack", slack, slack.env)
        discord = await FakeDiscord().start()
        figures += await burst(server, home / "discord", "discord", discord, discord.env)
    return figures
