"""`make soak MINUTES=60`: an hour of mixed load; records memory, files and answers every minute.

The results are written to `build/benchmarks/soak-*.json` after each minute.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import shutil
import signal
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp

from ops.nats import set_up_streams
from ops.nats_server import NatsServer
from ops.ports import free_port
from shared import log, names
from shared.bus import Bus
from tests.benchmarks.figures import COLUMNS, figure_of
from tests.soak.figures import figures
from tests.soak.outcome import outcome_of
from tests.soak.processes import FakeProcess, Part, Server, fake_process, file_sizes, used_by

RESULTS: Final = Path("build/benchmarks")
PEOPLE: Final = {"slack": 260, "discord": 190, "gateway": 150}
"""Users at the same time. Together they send 24 messages per second."""

RESTARTED: Final = ("dataflow", "slack", "discord", "gateway", "recorder", "nats-server")
EVICT_AFTER_S: Final = 12
STREAMS_KEEP_S: Final = 400.0
"""Instead of seven days, so that the streams are full long before growth is measured.

It is longer than the six minutes within which Slack retries.
"""

SUPERVISED_EVERY_S: Final = 0.5
LAST_ANSWERS_S: Final = 420.0
"""Slack retries a failed delivery after one minute, and again after five."""

CONNECTIONS_KEPT_S: Final = 45.0
"""aiohttp closes connections that were idle for 15 s, and checks for them every 15 s."""

_IN_MEMORY: Final = re.compile(r"^threadwax_conversations_in_memory (\S+)$", re.MULTILINE)


def say(text: str) -> None:
    """Prints a progress line."""
    print(text, flush=True)  # noqa: T201


@dataclass
class Soak:
    """One run. `result` is written to the JSON file."""

    minutes: int
    seed: int
    home: Path
    percent: int = 100
    parts: dict[str, Part | Server] = field(default_factory=dict)
    platforms: dict[str, FakeProcess] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)

    async def run(self, path: Path) -> None:
        """Runs from the first message to the last answer."""
        self.result = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"), "minutes": self.minutes,
            "seed": self.seed, "cores": os.cpu_count(), "python": platform.python_version(),
            "people": self._people, "restarts": [], "samples": [],
        }  # fmt: skip
        async with AsyncExitStack() as stack:
            stack.callback(self._keep_logs, path.with_suffix(""))
            await self._start(stack)
            self._began = time.monotonic()
            self.result["open_files"] = {"before": self._open_files()}
            for name, process in self.platforms.items():
                await process.call("begin", people=self._people[name])
            async with asyncio.TaskGroup() as group:
                others = [group.create_task(self._supervise()), group.create_task(self._restart())]
                for minute in range(1, self.minutes + 1):
                    await self._until(minute)
                    await self._sample()
                    self._write(path)
                await self._last_answers()
                self.result["open_files"]["after"] = self._open_files()
                for task in others:
                    task.cancel()
            await self._judge()
        self._write(path)

    @property
    def _people(self) -> dict[str, int]:
        return {name: count * self.percent // 100 for name, count in PEOPLE.items()}

    # --- processes ------------------------------------------------------------------------------

    async def _start(self, stack: AsyncExitStack) -> None:
        home, fakes = self.home / "data", self.home / "fakes"
        (home / "logs").mkdir(parents=True)
        fakes.mkdir()
        server = NatsServer(home / "nats", port=0)
        stack.callback(server.close)
        server.launch()
        await asyncio.to_thread(server.wait_until_ready)
        await set_up_streams(server.url)
        self._url = server.url
        await self._keep_less()
        self.parts["nats-server"] = Server(server)

        async def fake(name: str, **options: str) -> FakeProcess:
            process = fake_process(name, self.seed, fakes / f"{name}.log", **options)
            return await stack.enter_async_context(process)

        self._model = await fake("model")
        for name in PEOPLE:
            self.platforms[name] = await fake(f"{name}_users", url=server.url)
        self._flow_port = free_port()
        flow = {
            **self._model.env, "OPENAI_API_KEY": "test-key", "THREADWAX_MODEL": "fake",
            "THREADWAX_EVICT_AFTER_S": str(EVICT_AFTER_S),
            "THREADWAX_HTTP_PORT": str(self._flow_port),
        }  # fmt: skip
        envs = {
            "dataflow": flow,
            **{name: process.env for name, process in self.platforms.items()},
            "recorder": {},
        }
        for name, env in envs.items():
            common = {"NATS_URL": server.url, "THREADWAX_HOME": str(home / name)}
            part = self.parts[name] = Part(name, home, common | env)
            stack.callback(part.kill)
            await part.start()
        for process in self.platforms.values():
            await process.call("until_connected")

    async def _keep_less(self) -> None:
        bus = await Bus.connect(self._url, name="soak")
        try:
            for name in (names.PROMPTS, names.REPLIES, names.RECEIPTS_STREAM):
                config = (await bus.js.stream_info(name)).config
                window_s = min(config.duplicate_window or STREAMS_KEEP_S, STREAMS_KEEP_S)
                await bus.js.update_stream(
                    config.evolve(max_age=STREAMS_KEEP_S, duplicate_window=window_s)
                )
        finally:
            await bus.close()

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(SUPERVISED_EVERY_S)
            for part in self.parts.values():
                if isinstance(part, Part):
                    await part.restart_if_ended()

    async def _restart(self) -> None:
        """Restarts each process once in the first half. Growth is measured in the second."""
        for number, name in enumerate(RESTARTED, start=1):
            minute = number * self.minutes / 2 / (len(RESTARTED) + 1)
            await self._until(minute)
            began = time.monotonic()
            await self.parts[name].stop()
            await self.parts[name].start()
            took_s = round(time.monotonic() - began, 2)
            self.result["restarts"].append({"minute": minute, "name": name, "took_s": took_s})
            say(f"{minute:5.1f} min  {name} restarted in {took_s:.1f} s")

    async def _until(self, minute: float) -> None:
        await asyncio.sleep(max(0.0, self._began + minute * 60 - time.monotonic()))

    # --- samples --------------------------------------------------------------------------------

    async def _sample(self) -> None:
        now = time.monotonic()
        statuses = {name: await process.call("status") for name, process in self.platforms.items()}
        processes = {}
        for name, part in self.parts.items():
            if (pid := part.pid) is not None:
                life = {"pid": pid, "life_s": now - part.since, "cpu_s": part.used_s}
                processes[name] = used_by(pid) | life
        fakes = {name: used_by(process.pid) for name, process in self.platforms.items()}
        sample = {
            "minute": (now - self._began) / 60,
            "sent": sum(status["sent"] for status in statuses.values()),
            "waiting": sum(status["waiting"] for status in statuses.values()),
            "oldest_s": max(status["oldest_s"] for status in statuses.values()),
            "stuck": [text for status in statuses.values() for text in status["stuck"]],
            "people": sum(status["people"] for status in statuses.values()),
            "in_memory": await self._in_memory(),
            "processes": processes,
            "fakes": fakes | {"model": used_by(self._model.pid)},
            "files": file_sizes(self.home / "data"),
            "load": os.getloadavg()[0],
        }
        sample["answered"] = sample["sent"] - sample["waiting"]
        self.result["samples"].append(sample)
        self._print(sample)

    def _print(self, sample: dict[str, Any]) -> None:
        processes = sample["processes"].items()
        cpu = sum(process["cpu_s"] for _, process in processes) / sample["minute"] / 60
        memory = ", ".join(f"{name} {process['rss_mb']:.1f}" for name, process in processes)
        say(
            f"{sample['minute']:5.1f} min  {sample['answered']} of {sample['sent']} answered, "
            f"the oldest open question waits {sample['oldest_s']:.0f} s; MB: {memory}; "
            f"{sum(process['fds'] for _, process in processes):.0f} open files; "
            f"{sum(process['threads'] for _, process in processes):.0f} threads; {cpu:.2f} cores; "
            f"{sample['in_memory']} of {sample['people']} conversations in memory; "
            f"{sum(sample['files'].values()) / 1e6:.1f} MB of files; load {sample['load']:.1f}"
        )

    def _open_files(self) -> dict[str, float]:
        pids = {name: part.pid for name, part in self.parts.items()}
        return {name: used_by(pid)["fds"] for name, pid in pids.items() if pid is not None}

    async def _in_memory(self) -> int | None:
        """Returns the dataflow's own metric, or None while the dataflow restarts."""
        timeout = aiohttp.ClientTimeout(total=5.0)
        url = f"http://127.0.0.1:{self._flow_port}/metrics"
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as page:
                found = _IN_MEMORY.search(await page.text())
        except (aiohttp.ClientError, TimeoutError):
            return None
        return int(float(found[1])) if found else None

    # --- the end --------------------------------------------------------------------------------

    async def _last_answers(self) -> None:
        """Stops asking, and waits for all open questions."""
        for process in self.platforms.values():
            await process.call("finish")
        deadline = time.monotonic() + LAST_ANSWERS_S
        waiting = 1
        while waiting and time.monotonic() < deadline:
            await asyncio.sleep(5)
            statuses = [await process.call("status") for process in self.platforms.values()]
            waiting = sum(status["waiting"] for status in statuses)
        # Long enough to see a second answer: the next redelivery comes within 3 s.
        await asyncio.sleep(CONNECTIONS_KEPT_S)

    async def _judge(self) -> None:
        self.result |= await outcome_of(self.platforms, self._url, self.home / "data")
        self.result |= {
            "model": await self._model.call("status"),
            "defects": [text for part in self.parts.values() for text in part.defects],
        }
        self.result["figures"] = [figure.as_json() for figure in figures(self.result)]
        for row in (COLUMNS, *map(figure_of, self.result["figures"])):
            say(f"| {' | '.join(row)} |")
        for text in (*self.result["wrong"], *self.result["defects"]):
            say(f"WRONG: {text}")

    def _keep_logs(self, folder: Path) -> None:
        """Copies the logs if something went wrong."""
        if self.result.get("wrong", True) or self.result["defects"]:
            shutil.copytree(self.home / "data" / "logs", folder)

    def _write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.result, indent=1) + "\n")


async def _run(soak: Soak, path: Path) -> bool:
    task = asyncio.current_task()
    assert task is not None
    # SIGTERM must also end the child processes.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await soak.run(path)
    return all(row["met"] is not False for row in soak.result["figures"])


def main() -> int:
    """Runs the soak. Returns the exit code: 1 if a target is not met."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--percent", type=int, default=100, help="of the people; default: 100")
    options = parser.parse_args()
    log.set_up("warning", process="soak")
    path = RESULTS / f"soak-{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    say(f"seed {options.seed}, {options.minutes} minutes; samples are written to {path}")
    with tempfile.TemporaryDirectory(prefix="threadwax-soak-") as folder:
        soak = Soak(options.minutes, options.seed, Path(folder), options.percent)
        met = asyncio.run(_run(soak, path))
    say(f"written to {path}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
