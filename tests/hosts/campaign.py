"""What happens to parts of the deployment while people talk, and how long they wait meanwhile."""

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from shared import names
from shared.bus import Bus
from tests.hosts.deployment import Deployment
from tests.hosts.parts import NatsPart, Ours, Part, PostgresPart, set_up_by
from tests.hosts.people import Talk, reply
from tests.hosts.watch import Watch
from tests.running import ROOT
from tests.wire import Fault

CALM_S: Final = 3.0
"""How long people talk before a fault and after it."""

DOWN_S: Final = 0.5
GONE_S: Final = 8.0
"""How long a lost machine is missed until another one is there."""

SHORT_S, LONG_S = 10.0, 45.0
BAD_FOR_S: Final = 15.0
LOST: Final = 0.2
DELAY_S: Final = 0.1
"""In each direction: an answer takes twice as long."""

READY_WITHIN_S: Final = 30.0
"""After a fault, an election may come; then each process says at once that it is ready."""

RECORDED_WITHIN_S: Final = 60.0
NOTICED_WITHIN_S: Final = 10.0
"""Whoever cannot work says so by then."""

JOINS_AFTER_S: Final = 1.0

KINDS: Final = ("gateway", "slack", "discord")
HEAD: Final = (
    "| part | what happens | questions | longest wait: NATS requests | Slack | Discord "
    "| longest wait while all said they were ready | ready though cut off | all ready again after "
    "| calls in vain |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Row:
    """What came of it, from when it began until all were ready again and had talked a while."""

    part: str
    what: str
    questions: int
    longest_s: dict[str, float]
    """By kind of people."""

    unreported_s: float
    """The longest part of a wait during which all processes said that they were ready."""

    claimed_ready_s: float | None
    """How long processes that were cut off said that they were ready."""

    ready_after_s: float
    """How long after the fault was over all processes said that they were ready."""

    calls_in_vain: int
    """How many questions the model was asked more often than once."""

    def __str__(self) -> str:
        waits = [f"{self.longest_s[k]:.1f} s" if k in self.longest_s else "" for k in KINDS]
        claimed = "" if self.claimed_ready_s is None else f"{self.claimed_ready_s:.1f} s"
        cells = (self.part, self.what, str(self.questions), *waits, f"{self.unreported_s:.1f} s",
                 claimed, f"{self.ready_after_s:.1f} s", str(self.calls_in_vain))  # fmt: skip
        return f"| {' | '.join(cells)} |"


class Campaign:
    """Events of a deployment, each of which happens while people talk."""

    def __init__(self, deployment: Deployment, admin: Bus) -> None:
        self.deployment = deployment
        self._admin = admin
        self._numbers = itertools.count(1)
        self.rows: list[Row] = []

    async def case(self, event: "Event", *kinds: str) -> Row:
        """One event with people of its own, at a part of each kind at once, and all checks."""
        async with self._talk() as (talk, watch):
            parts = [await self.deployment.one_of(kind, self._admin) for kind in kinds]
            name = kinds[0] if len(kinds) == 1 else "one of each"
            return await self._happens(talk, watch, name, event, parts)

    async def upgrade(self) -> list[Row]:
        """Replaces every process, one after the other, while the same people talk."""
        there = self.deployment
        servers: list[tuple[str, Part]] = [("NATS server", one) for one in there.nats]
        ours = [(one.kind, one) for one in there.ours]
        async with self._talk() as (talk, watch):
            await set_up_by(ROOT, there.cluster.url("admin"), replicas=3)
            return [
                *[await self._happens(talk, watch, name, left, [one]) for name, one in servers],
                *[await self._happens(talk, watch, name, stopped, [one]) for name, one in ours],
            ]

    @asynccontextmanager
    async def _talk(self) -> AsyncIterator[tuple[Talk, Watch]]:
        talk = Talk(self.deployment, next(self._numbers))
        async with Watch(self.deployment) as watch:
            try:
                await talk.begin(self._admin)
                await asyncio.sleep(CALM_S)
                yield talk, watch
                await talk.end()
                await talk.everything_is_right(self._admin)
            finally:
                await talk.close()

    async def everything_is_recorded(self) -> None:
        """Returns when the database has a row for each reply in the journal."""
        wanted = (await self._admin.js.stream_info(names.REPLIES)).state.messages
        async with asyncio.timeout(RECORDED_WITHIN_S):
            while self.deployment.recorded() != wanted:
                await asyncio.sleep(0.5)

    async def _happens(
        self, talk: Talk, watch: Watch, name: str, event: "Event", parts: list[Part]
    ) -> Row:
        asked, in_vain, start = talk.questions, talk.calls_in_vain, time.monotonic()
        await asyncio.gather(_joined(talk), *(event(self.deployment, part) for part in parts))
        over = time.monotonic()
        talk.check()
        await watch.until_all_ready(READY_WITHIN_S)
        ready_after_s = time.monotonic() - over
        await asyncio.sleep(CALM_S)
        await talk.everybody_answered_since(over)
        claimed = self._claimed_ready_s(watch, parts, start, over) if event in CUTS else None
        row = Row(
            name, event.__name__.replace("_", " "), talk.questions - asked,
            {kind: talk.longest_s(kind, start) for kind in self.deployment.adapters},
            watch.unreported_s([wait for wait in talk.waits if wait.answered_at >= start]),
            claimed,
            ready_after_s,
            talk.calls_in_vain - in_vain,
        )  # fmt: skip
        sys.stderr.write(f"{row}\n")
        self.rows.append(row)
        assert claimed is None or claimed < NOTICED_WITHIN_S
        return row

    def _claimed_ready_s(
        self, watch: Watch, parts: list[Part], start: float, over: float
    ) -> float | None:
        """How long those said that they were ready that could not reach anybody, or the store."""
        affected = [part for part in parts if isinstance(part, Ours)]
        if any(isinstance(part, PostgresPart) for part in parts):
            affected += self.deployment.dataflows
        claimed = [watch.claimed_ready_s(part.name, start, over) for part in affected]
        return max(claimed, default=None)


@asynccontextmanager
async def campaign(deployment: Deployment) -> AsyncIterator[Campaign]:
    """A campaign, whose table is printed at the end."""
    model = deployment.model
    model.reply, model.delay_s, model.piece_chars, model.pause_s = reply, 0.1, 30, 0.05
    admin = await Bus.connect(deployment.cluster.url("admin"), name="setup")
    made = Campaign(deployment, admin)
    try:
        yield made
    finally:
        print("\n".join([HEAD, *map(str, made.rows)]))  # noqa: T201
        await admin.close()


async def _joined(talk: Talk) -> None:
    """Somebody new comes in the middle of it."""
    await asyncio.sleep(JOINS_AFTER_S)
    await talk.join("gateway")


# --- events ---------------------------------------------------------------------------------------

Event = Callable[[Deployment, Part], Awaitable[None]]


async def killed(_: Deployment, part: Part) -> None:
    part.kill()
    await asyncio.sleep(DOWN_S)
    await part.start()


async def stopped(_: Deployment, part: Part) -> None:
    await part.stop()
    await part.start()


async def left(_: Deployment, part: Part) -> None:
    """A NATS server first hands over what it leads, and its connections."""
    assert isinstance(part, NatsPart)
    await part.leave()
    await part.start()


async def cut_off_for_10_s(_: Deployment, part: Part) -> None:
    part.host.cut()
    await asyncio.sleep(SHORT_S)
    part.host.heal()


async def cut_off_for_45_s(_: Deployment, part: Part) -> None:
    part.host.cut()
    await asyncio.sleep(LONG_S)
    part.host.heal()


async def loses_a_fifth_of_all_packets(_: Deployment, part: Part) -> None:
    await _impaired(part, Fault(lost=LOST), BAD_FOR_S)


async def answers_200_ms_later(_: Deployment, part: Part) -> None:
    await _impaired(part, Fault(delay_s=DELAY_S), BAD_FOR_S)


async def receives_nothing_for_10_s(_: Deployment, part: Part) -> None:
    """Its packets arrive: others may think that it is well."""
    await _impaired(part, Fault(dropped="in"), SHORT_S)


async def sends_nothing_for_10_s(_: Deployment, part: Part) -> None:
    """It hears all others: it may think that it is well."""
    await _impaired(part, Fault(dropped="out"), SHORT_S)


async def _impaired(part: Part, fault: Fault, seconds: float) -> None:
    part.host.impair(fault)
    await asyncio.sleep(seconds)
    part.host.heal()


async def lost_and_replaced(deployment: Deployment, part: Part) -> None:
    """Its machine is lost; later, another one takes its place."""
    await lost_for_good(deployment, part)
    if isinstance(part, Ours):
        await deployment.another(part.kind).start()
    else:  # it has the name and the address of the lost one, and nothing else
        part.empty()
        part.host.heal()
        await part.start()


async def lost_for_good(deployment: Deployment, part: Part) -> None:
    part.host.cut()  # first: its kernel does not end its connections
    part.kill()
    if isinstance(part, Ours):
        deployment.remove(part)
    await asyncio.sleep(GONE_S)


async def another_one_added(deployment: Deployment, part: Part) -> None:
    assert isinstance(part, Ours)
    await deployment.another(part.kind).start()


CUTS: Final = (
    cut_off_for_10_s, cut_off_for_45_s, receives_nothing_for_10_s, sends_nothing_for_10_s,
)  # fmt: skip
