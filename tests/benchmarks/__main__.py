"""`make bench`: prints every figure beside its floor and writes them as JSON."""

import asyncio
import json
import os
import platform
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from ops.nats_command import set_up_streams
from ops.nats_server import NatsServer
from shared import log
from tests.benchmarks import adapters, measures

RESULTS = Path("build/benchmarks")


async def run(home: Path) -> measures.Figures:
    server = NatsServer(home / "nats", port=0)
    await asyncio.to_thread(server.start)
    try:
        await set_up_streams(server.url)
        model, url = await asyncio.to_thread(measures.model_process)
        try:
            figures: measures.Figures = {}
            for name, measure in (
                ("idle", measures.idle(server, home / "idle", url)),
                ("first_token", measures.first_token(server, home / "first")),
                ("crowd", measures.crowd(server, home / "crowd", users=200, delay_s=2.0)),
                ("adapters", adapters.bursts(server, home / "adapters")),
                ("idle_cpu", measures.idle_cpu(server, home / "cpu")),
            ):
                print(f"measuring {name} ...", flush=True)  # noqa: T201
                figures[name] = await measure
                print(json.dumps(figures[name], indent=2), flush=True)  # noqa: T201
            return figures
        finally:
            model.kill()
            model.wait()
    finally:
        server.close()


def main() -> None:
    log.set_up("warning", process="bench")
    with tempfile.TemporaryDirectory(prefix="threadwax-bench-") as folder:
        figures = asyncio.run(run(Path(folder)))
    figures["machine"] = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    path.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"written to {path}")  # noqa: T201


if __name__ == "__main__":
    main()
