"""Runs the rounds of one campaign on one system. The checker judges each round."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.chaos import checker
from tests.chaos.discord_users import DiscordUsers
from tests.chaos.evidence import Evidence
from tests.chaos.faults import inject, is_possible
from tests.chaos.gateway_users import GatewayUsers
from tests.chaos.plan import PEOPLE, Act, Round, campaign_plan
from tests.chaos.said import Said
from tests.chaos.slack_users import SlackUsers
from tests.chaos.system import System
from tests.chaos.web_users import WebUsers
from tests.chaos.world import World

SETTLED_WITHIN_S: Final = 90.0
"""The time that the system gets after all faults have ended to reach a correct state."""

LOOK_EVERY_S: Final = 0.15
QUIET_S: Final = 5.0
"""Long enough to see a second answer: the next redelivery comes after 3 s."""

SUPERVISED_EVERY_S: Final = 0.1
FIRST_NUMBER, LAST_NUMBER = 100_000, 200_000
"""Acts before the first round, and after the last one, are numbered from here."""


@dataclass
class Outcome:
    """The violations that a campaign found, and what it did."""

    campaign: int
    violations: list[str] = field(default_factory=list)
    failed_round: int | None = None
    rounds: int = 0
    took_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    left_out: set[str] = field(default_factory=set)


class Campaign:
    """Runs one system, from its start to its last questions."""

    def __init__(
        self,
        seed: int,
        number: int,
        rounds: int,
        home: Path,
        *,
        faults: Collection[str] | None = None,
        mutations: Mapping[str, str] | None = None,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._report = report
        self._mutations = mutations
        self.plan = campaign_plan(seed, number, rounds, faults=faults)
        self.outcome = Outcome(number)
        self._home = home
        self._rng = random.Random(f"{seed}-{number}-answers")
        self._said: dict[int, Said] = {}
        self._judged = 0

    async def run(self) -> Outcome:
        """Runs all rounds, or stops after the first one that violates a rule."""
        started = time.monotonic()
        async with self._new_system() as self._system:
            supervising = asyncio.create_task(self._supervise())
            self._discord = DiscordUsers(self._system.discord, self._said)
            self._gateway = GatewayUsers(self._said)
            self._slack = SlackUsers(self._system.slack, self._said)
            self._web = WebUsers(self._system.page_address, self._said)
            self._evidence = Evidence(self._system, self._said, self._discord, self._web)
            await self._gateway.connect(self._system.server.url)
            await self._web.open()
            try:
                await self._rounds()
            finally:
                supervising.cancel()
                await self._gateway.close()
                await self._web.close()
        self.outcome.took_s = time.monotonic() - started
        return self.outcome

    def _new_system(self) -> System:
        return System(self._home, self._rng, self._mutations)

    async def _rounds(self) -> None:
        await self._first_questions()
        for round_ in self.plan:
            if not self.outcome.violations:
                started = time.monotonic()
                await self._round(round_)
                took_s = time.monotonic() - started
                faults = ", ".join(f"{planned.kind} {planned.target}" for planned in round_.faults)
                self._report(f"  round {round_.number}: {took_s:.1f} s ({faults})")
                self.outcome.rounds += 1
                self.outcome.failed_round = round_.number if self.outcome.violations else None
        if not self.outcome.violations:
            await asyncio.sleep(QUIET_S)
            await self._judge()
            await self._last_questions()
        system = self._system
        self.outcome.violations += checker.clean_logs(system.logs(), system.secrets())
        self._add_up()

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(SUPERVISED_EVERY_S)
            for part in self._system.parts.values():
                part.restart_if_ended()

    # --- rounds ---------------------------------------------------------------------------------

    async def _round(self, round_: Round) -> None:
        async def do_at(at_s: float, act: Act) -> None:
            await asyncio.sleep(at_s)
            await self._do(act)

        async def inject_faults() -> None:
            async with asyncio.TaskGroup() as faults:
                for planned in round_.faults:
                    if not is_possible(planned, self._system):
                        self.outcome.left_out.add(planned.kind)
                        continue
                    self.outcome.counts[f"fault {planned.kind}"] += 1
                    self._evidence.world.model_failed |= (
                        planned.kind == "model" or planned.target == "model"
                    )
                    faults.create_task(run_later(planned.at_s, inject(self._system, planned)))

        async def run_later(at_s: float, work: object) -> None:
            await asyncio.sleep(at_s)
            await work  # type: ignore[misc]

        async with asyncio.TaskGroup() as group:
            group.create_task(inject_faults())
            for act in round_.acts:
                group.create_task(do_at(act.at_s, act))
        await self._judge()

    async def _do(self, act: Act) -> None:
        if act.target is not None and act.target not in self._said:
            return  # the act it refers to never happened
        self.outcome.counts[f"{act.platform} {act.what}"] += 1
        match act.platform:
            case "slack":
                await self._slack.do(act)
            case "discord":
                await self._discord.do(act)
            case "web":
                await self._web.do(act)
            case _:
                await self._gateway.do(act)

    async def _judge(self) -> None:
        """Waits until no rule complains. Complaints that remain at the deadline are violations."""
        deadline = time.monotonic() + SETTLED_WITHIN_S
        while True:
            world = await self._evidence.read()
            found = checker.settled_rules(world)
            if not found or time.monotonic() > deadline:
                break
            await asyncio.sleep(LOOK_EVERY_S)
        self.outcome.violations += found
        self.outcome.violations += self._judge_requests(world)
        await self._evidence.count()

    def _judge_requests(self, world: World) -> list[str]:
        new = world.answers[self._judged :]
        self._judged = len(world.answers)
        return [*checker.unmixed(world, new), *checker.files_are_sent(world, new)]

    # --- first and last questions ---------------------------------------------------------------

    async def _first_questions(self) -> None:
        """Every Discord user writes to the bot first: a bot cannot list its direct channels."""
        acts = [
            Act(FIRST_NUMBER + n, 0.0, "discord", who, "ask", "direct")
            for n, who in enumerate(PEOPLE["discord"])
        ]
        await asyncio.gather(*(self._do(act) for act in acts))
        await self._judge()

    async def _last_questions(self) -> None:
        """Every user asks one more question in each kind of place, one after another."""
        threads: dict[tuple[str, str], dict[str, Act]] = {}
        for said in self._said.values():
            act = said.act
            if said.done and act.what == "ask" and act.target is None and act.where != "command":
                threads.setdefault((act.platform, act.who), {})[act.where] = act
        number = LAST_NUMBER
        for step in range(3):
            acts = []
            for (platform, who), by_place in threads.items():
                if step < len(by_place):
                    where = sorted(by_place)[step]
                    number += 1
                    follows = platform != "gateway" and not (
                        platform == "discord" and where == "direct"
                    )
                    target = by_place[where].number if follows else None
                    acts.append(Act(number, 0.0, platform, who, "ask", where, target))
            await asyncio.gather(*(self._do(act) for act in acts))
            await self._judge()
            if self.outcome.violations:
                return
        world = self._evidence.world
        world.last_questions = {n for n in self._said if n > LAST_NUMBER}
        self.outcome.counts["last questions"] += len(world.last_questions)
        self.outcome.violations += checker.remembers_what_was_seen(world)

    # --- counts ---------------------------------------------------------------------------------

    def _add_up(self) -> None:
        counts, world, evidence = self.outcome.counts, self._evidence.world, self._evidence
        counts["model calls"] += len(world.answers)
        counts["events stored"] += len(world.events)
        for event in world.events:
            counts[f"stored {event.spot.platform} {event.kind}"] += 1
        for reply in world.replies:
            counts[f"replies {reply.outcome}"] += 1
        for part in self._system.parts.values():
            counts["restarts by themselves"] += part.restarts
            counts["starts"] += part.lives
        logs = self._system.logs()
        counts["prevented: stored before"] += sum(log.count('"new":false') for log in logs.values())
        counts["prevented: answered before"] += evidence.counted("threadwax_answered_before_total")
        counts["prevented: posted before"] += evidence.counted("threadwax_posted_before_total")
        counts["askers' repeats"] += self._gateway.repeats
        counts["web: sent again"] += self._web.sent_again
        counts["web: buttons pressed"] += self._web.pressed
        counts["web: not taken"] += self._web.not_taken
