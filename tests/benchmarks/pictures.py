"""Memory of the dataflow while it asks about pictures: `python -m tests.benchmarks.pictures`.

Each question has ten pictures of 10 MiB, the largest size and number that adapters store. Each run
uses a new dataflow. The peak is the kernel's (VmHWM). The model runs in its own process.
"""

import argparse
import asyncio
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from ops.nats import set_up_streams
from ops.nats_server import NatsServer
from shared.blobs import BLOB_LIMIT_BYTES, put_blob
from shared.bus import Bus
from shared.messages import Attachment
from tests.running import ROOT, answer_to, dataflow, question

PICTURES = 10
MODEL_S = 3.0
"""The model waits this long with its answer after it has read the request."""


async def peak_mb(questions: int, folder: Path) -> tuple[float, float, list[str]]:
    """Returns the memory before the first question, the peak, and the outcomes."""
    server = NatsServer(folder / "nats", port=0)
    server.start()
    await set_up_streams(server.url)
    model = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.model", "--delay", str(MODEL_S),
         "--body-limit", str(1 << 28)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert model.stdout is not None
    flow = dataflow(folder / "home", server.url, model.stdout.readline().strip()).start()
    bus = await Bus.connect(server.url, name="bench")
    try:
        names = [f"test-{number}" for number in range(PICTURES)]
        for name in names:
            await put_blob(bus, name, os.urandom(BLOB_LIMIT_BYTES))
        pictures = tuple(
            Attachment(name=f"{name}.png", media_type="image/png", blob=name) for name in names
        )
        await flow.ready()
        await answer_to(bus, question("ada", "first", "hello"))
        before = _memory_mb(flow.process, "VmRSS")
        asked = [
            question(f"user{number}", 0, "what is this?", attachments=pictures)
            for number in range(questions)
        ]
        replies = await asyncio.gather(*(answer_to(bus, ask, timeout_s=300) for ask in asked))
        return before, _memory_mb(flow.process, "VmHWM"), [reply.outcome for reply in replies]
    finally:
        await bus.close()
        flow.kill()
        model.kill()
        model.wait()
        model.stdout.close()
        server.close()


def _memory_mb(process: "subprocess.Popen[bytes] | None", field: str) -> float:
    assert process is not None
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    (line,) = [line for line in status if line.startswith(f"{field}:")]
    return int(line.split()[1]) / 1000


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-once", type=int, nargs="*", default=[1, 3])
    for questions in parser.parse_args().at_once:
        with TemporaryDirectory() as folder:
            before, peak, outcomes = await peak_mb(questions, Path(folder))
        print(f"{questions} at once: {before:.0f} MB before, {peak:.0f} MB peak, {outcomes}")  # noqa: T201


if __name__ == "__main__":
    asyncio.run(_main())
