"""Rounds in which people talk and the power fails. The checker of the chaos suite judges each."""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.chaos.campaign import Campaign
from tests.chaos.plan import TALK_S, Round
from tests.power.machines import Layout, Machines

DARK_S: Final = (0.05, 1.5)
AGAIN_WITHIN_S: Final = 3.0
"""A second cut comes while the processes start, or soon after."""

AGAIN_ONE_IN: Final = 4
ALONE_SHARE: Final = 0.6
"""How often only one of several machines loses power."""

WEIGHTS: Final = {
    "nats": 3, "dataflow": 3, "discord": 2, "recorder": 2, "slack": 1, "gateway": 1, "web": 1,
}  # fmt: skip
"""The machines that may lose power, and how often compared with the others: all of them."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Some machines lose power for a while."""

    machines: tuple[str, ...]
    at_s: float
    dark_s: float

    def __str__(self) -> str:
        return f"{self.at_s:5.2f} s  no power for {self.dark_s:.1f} s: {', '.join(self.machines)}"


def layout_of(seed: int, campaign: int) -> Layout:
    """Draws how the parts of a campaign are spread over machines."""
    separate = random.Random(f"{seed}-{campaign}-layout").random() < 0.4
    return "separate machines" if separate else "one machine"


def cuts_of(rng: random.Random, machines: tuple[str, ...]) -> list[Cut]:
    """Draws one or two cuts. The time of the second counts from the end of the first."""
    cuts = [_drawn(rng, machines, TALK_S)]
    if rng.randrange(AGAIN_ONE_IN) == 0:
        cuts.append(_drawn(rng, machines, AGAIN_WITHIN_S))
    return cuts


def _drawn(rng: random.Random, machines: tuple[str, ...], within_s: float) -> Cut:
    if len(machines) == 1:
        affected = machines
    elif rng.random() < ALONE_SHARE:
        affected = tuple(rng.choices(machines, [WEIGHTS[m] for m in machines]))
    else:
        affected = tuple(rng.sample(machines, rng.randint(2, len(machines))))
    return Cut(affected, rng.uniform(0, within_s), rng.uniform(*DARK_S))


class PowerCampaign(Campaign):
    """A campaign on one set of machines, from their first start to the last questions."""

    _system: Machines

    def __init__(
        self,
        seed: int,
        number: int,
        rounds: int,
        home: Path,
        *,
        layout: Layout | None = None,
        mutations: Mapping[str, str] | None = None,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(seed, number, rounds, home, faults=(), mutations=mutations, report=report)
        self.layout = layout or layout_of(seed, number)
        self._seed = f"{seed}-{number}"

    def cuts(self, round_: Round) -> tuple[list[Cut], random.Random]:
        """Returns the cuts of a round, and the generator that decides which writes they lose."""
        rng = random.Random(f"{self._seed}-{round_.number}-power")
        machines = ("all",) if self.layout == "one machine" else tuple(WEIGHTS)
        return cuts_of(rng, machines), rng

    def _new_system(self) -> Machines:
        return Machines(self._home, self._rng, self.layout, self._mutations)

    async def _round(self, round_: Round) -> None:
        cuts, rng = self.cuts(round_)
        async with asyncio.TaskGroup() as group:
            power = group.create_task(self._power(cuts, rng))
            for act in round_.acts:
                group.create_task(self._later(act.at_s, act))
        if error := power.result():
            self.outcome.violations.append(error)
            return
        await self._judge()
        self._report(f"  {len(round_.acts)} acts; " + "; ".join(map(str, cuts)))

    async def _later(self, at_s: float, act: object) -> None:
        await asyncio.sleep(at_s)
        await self._do(act)  # type: ignore[arg-type]

    async def _power(self, cuts: list[Cut], rng: random.Random) -> str:
        for cut in cuts:
            await asyncio.sleep(cut.at_s)
            await self._system.cut(cut.machines, rng)
            self.outcome.counts["cuts"] += 1
            for machine in cut.machines:
                self.outcome.counts[f"machine without power: {machine}"] += 1
            await asyncio.sleep(cut.dark_s)
            await self._system.restore(cut.machines)
        return await self._system.started_again()

    def _add_up(self) -> None:
        super()._add_up()
        for name, count in self._system.counts().items():
            if name != "cuts":
                self.outcome.counts[f"disk {name.replace('_', ' ')}"] += count
        logs = self._system.logs().values()
        self.outcome.counts["files set aside"] += sum(log.count("set aside") for log in logs)
        (self._home / "logs" / "nats-server.log.txt").write_text(self._system.server_log())
