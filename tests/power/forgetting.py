"""The power fails while people are forgotten: afterwards nothing of them may be left on the disk.

Everything runs on one machine, with SQLite: nats-server, the dataflow and the recorder. A receipt
must never be given for words that a power cut can bring back.
"""

import argparse
import asyncio
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from ops.forget import markers
from shared import user_names
from shared.bus import Bus
from shared.database.engine import database_url as url_of
from shared.database.engine import engine_of
from shared.replies import Reply
from shared.settings import Settings
from tests.chaos.command import options_of, say
from tests.fakes.model import FakeModel
from tests.forgetting import EVICT_S, OTHERS, World
from tests.power.machines import process_tree
from tests.power.mounts import Mount, why_not
from tests.recorded import Rows, until_recorded
from tests.running import Running, dataflow

ERASING_S: Final = 3.0
"""The power fails within this time after the request. An erasure takes one to three seconds."""

AT_ONCE_ONE_IN: Final = 3
"""In one of this many rounds the power fails at the moment when the reply is there."""

AGAIN_ONE_IN: Final = 3
AGAIN_WITHIN_S: Final = 4.0
"""In one of this many rounds it fails again, while everything starts and continues."""

ERASED_WITHIN_S: Final = 90.0
EMPTIED_WITHIN_S: Final = 15.0
"""The recorder empties SQLite's log after its transaction, within five seconds."""

DESCRIPTION: Final = """\
Real processes (nats-server, dataflow, recorder with SQLite) on a disk that loses unsynced data when
the power fails. In each round a person says a marker everywhere and is then forgotten; meanwhile,
or at the moment when the erasure is reported, the power fails. After the restart, the erasure has
to be complete, with its receipt, and no file may contain the marker. Another person must lose
nothing. See docs/power.md.
"""


@dataclass
class Outcome:
    """What happened in all rounds."""

    counts: "Counter[str]" = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


class Machine:
    """One machine with all processes and one data folder."""

    def __init__(self, folder: Path, model_url: str) -> None:
        self.mount = Mount(folder / "machine")
        self.home = self.mount.folder / "data"
        logs = folder / "logs"
        logs.mkdir()
        env = {"THREADWAX_HOME": str(self.home)}
        self.nats = Running("nats", "--port", "0", log=logs / "nats.log", env=env)
        self.flow = dataflow(logs, "", model_url, THREADWAX_EVICT_AFTER_S=str(EVICT_S), **env)
        del self.flow.env["NATS_URL"]  # it reads the address from nats-server's file
        self.recorder = Running("recorder", log=logs / "recorder.log", env=env)

    async def start(self) -> None:
        """Starts everything at once, and waits until all of it is ready."""
        for process in (self.nats, self.flow, self.recorder):
            process.log.write_text("")
            process.start()
        for process in (self.nats, self.flow, self.recorder):
            await process.ready()

    async def recorded(self, done: Callable[[Rows], bool]) -> Rows:
        """All rows of the database, as soon as they are as wanted. Leaves no file open."""
        engine = engine_of(url_of(Settings(THREADWAX_HOME=self.home)))
        try:
            return await until_recorded(engine, done)
        finally:
            engine.dispose()

    def address(self) -> str:
        return (self.home / "nats" / "url").read_text().strip()

    async def cut(self, rng: random.Random) -> None:
        """Cuts the power. Returns when all processes have ended."""
        running = [p.process for p in (self.nats, self.flow, self.recorder) if p.process]
        pids = [pid for process in running for pid in process_tree(process.pid)]

        def kill() -> None:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue

        await asyncio.to_thread(self.mount.cut, rng, kill)
        await asyncio.to_thread(self.kill)

    def kill(self) -> None:
        for process in (self.flow, self.recorder, self.nats):
            process.kill()

    async def power_on(self) -> None:
        await asyncio.to_thread(self.mount.restore)
        await self.start()


async def forgotten_in_the_dark(
    seed: int, rounds: int, folder: Path, report: Callable[[str], None] = lambda _: None
) -> Outcome:
    """Runs the rounds, one after the other on one machine."""
    outcome = Outcome()
    async with AsyncExitStack() as closing:
        model = FakeModel()
        await model.start()
        closing.push_async_callback(model.stop)
        machine = Machine(folder, model.base_url)
        await asyncio.to_thread(closing.enter_context, machine.mount)
        closing.callback(machine.kill)
        await machine.start()
        bus = await Bus.connect(machine.address(), name="power", on_closed=lambda: None)
        closing.push_async_callback(bus.close)
        world = World(bus, model, machine.home, machine.flow)
        await world.says_everything("bob", OTHERS)
        before = await world.messages("bob")
        for number in range(rounds):
            rng = random.Random(f"{seed}-{number}")
            found = await _round(machine, world, number, rng, outcome.counts)
            if await world.messages("bob") != before:
                found.append("another person lost messages")
            outcome.violations += [f"round {number}: {what}" for what in found]
            report(f"round {number}: " + ("; ".join(found) or "nothing is left"))
        outcome.counts += machine.mount.counts
    return outcome


async def _round(
    machine: Machine, world: World, number: int, rng: random.Random,
    counts: "Counter[str]",
) -> list[str]:  # fmt: skip
    name, marker = f"ada{number}", f"Krähe-{rng.getrandbits(40):x}"
    user = user_names.user_of("test", name)
    await world.says_everything(name, marker)
    await machine.recorded(lambda rows: marker in str(rows))
    counts["files with the marker"] += len(await world.until_everywhere(marker))
    event = world.forget_event(name)
    await world.bus.publish(event)
    reply = None
    if rng.randrange(AT_ONCE_ONE_IN):
        await asyncio.sleep(rng.uniform(0, ERASING_S))
    else:
        reply = await world.bus.reply_when_stored(user, event.id, timeout_s=ERASED_WITHIN_S)
        counts["cuts when the reply was there"] += 1
    await machine.cut(rng)
    counts["power cuts"] += 1
    await asyncio.to_thread(machine.mount.restore)
    if reply is not None and (left := _files_with(machine.home, marker, without="recorder/")):
        return [f"reported as erased, but back after the cut: {left}"]
    await machine.start()
    if not rng.randrange(AGAIN_ONE_IN):
        await asyncio.sleep(rng.uniform(0, AGAIN_WITHIN_S))
        await machine.cut(rng)
        counts["power cuts"] += 1
        await machine.power_on()
    reply = await world.bus.reply_when_stored(user, event.id, timeout_s=ERASED_WITHIN_S)
    return await _violations(machine, user, marker, reply)


async def _violations(machine: Machine, user: str, marker: str, reply: Reply | None) -> list[str]:
    if reply is None:
        return [f"not erased within {ERASED_WITHIN_S:.0f} s"]
    if reply.outcome != "answered" or reply.erased is None:
        return [f"a receipt is missing: {reply.outcome}"]
    try:
        rows = await machine.recorded(lambda rows: _is_forgotten(rows, user))
    except AssertionError:
        return ["the recorder has not erased its rows"]
    found = [] if marker not in str(rows) else ["words in the database"]
    deadline = asyncio.get_running_loop().time() + EMPTIED_WITHIN_S
    while left := _files_with(machine.home, marker):
        if asyncio.get_running_loop().time() > deadline:
            return [*found, f"words in {left}"]
        await asyncio.sleep(0.5)
    return found


def _is_forgotten(rows: Rows, user: str) -> bool:
    return any(row["user_id"] == user and row["forgotten_at"] for row in rows["people"])


def _files_with(home: Path, marker: str, *, without: str = "\0") -> list[str]:
    found = markers.search(home, [marker])
    paths = [str(path.relative_to(home)) for path in (*found.matches, *found.unreadable)]
    return [path for path in paths if not path.startswith(without)]


def main() -> int:
    """Runs the rounds; the exit code is 1 if anything was left, 2 if they cannot run here."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.power.forgetting", description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--seed", type=int, help="default: drawn at random and printed")
    parser.add_argument("--rounds", type=int, default=10, help="default: 10")
    options = options_of(parser)
    if reason := why_not():
        say(reason)
        return 2
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # it would log each broken connection
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    say(f"seed {options.seed}")
    folder = Path(tempfile.mkdtemp(prefix="threadwax-forget-"))
    try:
        outcome = asyncio.run(forgotten_in_the_dark(options.seed, options.rounds, folder, say))
        if outcome.violations:
            say(f"the logs are in {shutil.move(folder / 'logs', tempfile.mkdtemp())}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for what, count in sorted(outcome.counts.items()):
        say(f"{count:>8,}  {what}")
    say(f"{options.rounds} rounds, {len(outcome.violations)} violations")
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
