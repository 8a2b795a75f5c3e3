"""`make bench`: prints each figure with its floor and target, and writes the JSON results.

Run as `python -m tests.benchmarks [NAMES...]`. Without names, all are measured.
"""

import argparse
import asyncio
import gc
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared import log
from tests.benchmarks import (
    adapters,
    blocking,
    concurrency,
    end_to_end,
    first_token,
    hops,
    idle,
    idle_cpu,
    known_users,
    members,
    memory_and_resume,
    prompt_cache,
    recorder,
    storing,
    summaries,
    throughput,
    traces,
    up,
    web,
)
from tests.benchmarks.figures import COLUMNS, Figure, figure_of
from tests.running import ROOT

RESULTS = Path("build/benchmarks")

GARBAGE_AFTER = 500_000
"""New objects between garbage collections.

More frequent collections took an eighth of the load's processor time while 5000 users waited.
"""

Measure = Callable[[Path], Awaitable[list[Figure]]]

MEASURES: dict[str, Measure] = {
    "idle": idle.measure,
    "hops": hops.measure,
    "first_token": first_token.measure,
    "storing": storing.measure,
    "concurrency": concurrency.measure,
    "throughput": throughput.measure,
    "members": members.measure,
    "memory_and_resume": memory_and_resume.measure,
    "known_users": known_users.measure,
    "adapters": adapters.measure,
    "blocking": blocking.measure,
    "end_to_end": end_to_end.measure,
    "idle_cpu": idle_cpu.measure,
    "prompt_cache": prompt_cache.measure,
    "recorder": recorder.measure,
    "summaries": summaries.measure,
    "traces": traces.measure,
    "up": up.measure,
    "web": web.measure,
}


def say(text: str) -> None:
    """Prints a progress line."""
    print(text, flush=True)  # noqa: T201


def table(figures: list[Figure]) -> str:
    """Returns the figures as a Markdown table."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *(figure_of(f.as_json()) for f in figures)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


async def run(measures: dict[str, Measure], home: Path) -> dict[str, list[Figure]]:
    found = {}
    for name, measure in measures.items():
        say(f"\nmeasuring {name} ...")
        began = time.monotonic()
        found[name] = await measure(home / name)
        say(table(found[name]))
        say(f"{name} took {time.monotonic() - began:.0f} s")
    return found


def commit() -> str:
    """The commit that is measured; a plus says that files were changed since."""
    done = subprocess.run(
        ["git", "describe", "--always", "--exclude", "*", "--dirty=+"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() or "unknown"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASURES))
    options = parser.parse_args()
    if unknown := set(options.names) - set(MEASURES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(MEASURES)}")
    measures = {name: MEASURES[name] for name in options.names or MEASURES}
    log.set_up("warning", process="bench")
    gc.set_threshold(GARBAGE_AFTER)
    began = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="threadwax-bench-") as folder:
        found = asyncio.run(run(measures, Path(folder)))
    result: dict[str, Any] = {
        "at": began.isoformat(timespec="seconds"),
        "commit": commit(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "figures": {name: [f.as_json() for f in figures] for name, figures in found.items()},
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{began:%Y%m%dT%H%M%S}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    for name, figures in result["figures"].items():
        latest = result | {"figures": {name: figures}}
        (RESULTS / f"{name}.json").write_text(json.dumps(latest, indent=2) + "\n")
    say(f"\nresults written to {path}, and the newest of each name to {RESULTS}/NAME.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
