"""What traces cost the dataflow: processor time and answers per second, with and without them.

Needs the extra `traces`.
"""

import statistics
from pathlib import Path

from tests.benchmarks.figures import Figure
from tests.benchmarks.load import again_and_again, people
from tests.benchmarks.processes import cpu_s, flow, model, module, nats, pid_of, started

USERS = 100
PIECES = 5
SECONDS = 6.0
WARM_UP_S = 2.0
ROUNDS = 3
"""Each with and without traces, in turns."""


async def measure(home: Path) -> list[Figure]:
    """A closed loop with a model that answers immediately, so that everything else counts."""
    cpu: dict[bool, list[float]] = {True: [], False: []}
    rate: dict[bool, list[float]] = {True: [], False: []}
    with model(pieces=PIECES) as server:
        async with started(module("trace_receiver", home=home / "receiver")) as receiver:
            url = receiver.log.read_text().partition("READY ")[2].split()[0]
            for number in range(2 * ROUNDS):
                is_on = number % 4 in {0, 3}
                env = {"OTEL_EXPORTER_OTLP_ENDPOINT": url} if is_on else {}
                here = home / str(number)
                async with nats(here) as bus_server:
                    running = flow(here / "flow", bus_server.url, server.url, **env)
                    async with started(running), people(bus_server.url) as them:
                        used = cpu_s(pid_of(running))
                        busy = await again_and_again(
                            them, "busy", USERS, SECONDS, warm_up_s=WARM_UP_S
                        )
                        cpu[is_on].append((cpu_s(pid_of(running)) - used) / busy.all * 1e3)
                        rate[is_on].append(busy.rate)
    off = "without traces"
    return [
        Figure(
            "processor time of the dataflow per answer, all traced",
            statistics.median(cpu[True]), "ms", off, statistics.median(cpu[False]),
        ),
        Figure(
            "answers per second, all traced", statistics.median(rate[True]), "/s",
            off, statistics.median(rate[False]),
        ),
    ]  # fmt: skip
