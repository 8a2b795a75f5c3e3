"""`make chaos SEED=... ROUNDS=...`: everything goes wrong, and a checker reads what people saw."""

import argparse
import asyncio
import json
import logging
import secrets
import shutil
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from tests.chaos.campaign import Campaign, Outcome
from tests.chaos.fault_plan import KINDS
from tests.chaos.plan import campaign_plan
from tests.power.mounts import why_not
from tests.power.rounds import PowerCampaign

POWER_EVERY: Final = 5
"""Every fifth campaign has power cuts and no other faults (docs/power.md)."""

RESULTS: Final = Path("build/chaos")
CAMPAIGN_ROUNDS: Final = 20

TEACHES: Final = """\
Real processes (nats-server, dataflow, Slack and Discord adapters, gateway) run against a fake
Slack, a fake Discord and a fake model. In each round people speak while one to three faults
strike; then all is healed, and a checker reads what people saw. A campaign is a number of rounds
on one system.

examples:
  python -m tests.chaos --seed 7 --rounds 100        five campaigns of 20 rounds
  python -m tests.chaos --seed 7 --rounds 40 --plan  only tells what would happen
  python -m tests.chaos --seed 7 --campaign 3        the fourth campaign again, by itself
  python -m tests.chaos --faults kill,term           other faults are not drawn
  python -m tests.chaos --faults none                nothing goes wrong

The seed decides who says what when, and what goes wrong when. How real processes interleave is not
decided by it: a violation may need a second or third run of its campaign to show again.
docs/chaos.md says what is drawn and what is checked.
"""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=TEACHES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--seed", type=int, help="by default drawn, and printed")
    parser.add_argument("--rounds", type=int, default=CAMPAIGN_ROUNDS)
    parser.add_argument("--campaign", type=int, help="only this one, counted from 0")
    parser.add_argument(
        "--campaign-rounds", type=int, default=CAMPAIGN_ROUNDS, metavar="N",
        help=f"rounds on one system; by default {CAMPAIGN_ROUNDS}",
    )  # fmt: skip
    parser.add_argument("--faults", help=f"some of: {', '.join(KINDS)}; or none")
    parser.add_argument("--plan", action="store_true", help="prints the schedule and runs nothing")
    parser.add_argument("--verbose", action="store_true", help="tells the end of every round")
    options = parser.parse_args()
    options.seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    if options.faults is not None:
        options.faults = [f for f in options.faults.split(",") if f != "none"]
        if unknown := set(options.faults) - KINDS.keys():
            parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    return options


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  (it is a command)


def _campaigns(options: argparse.Namespace) -> list[tuple[int, int]]:
    """Number and rounds of each campaign."""
    size = options.campaign_rounds
    if options.campaign is not None:
        return [(options.campaign, size)]
    starts = range(0, options.rounds, size)
    return [(start // size, min(size, options.rounds - start)) for start in starts]


def _run(options: argparse.Namespace, number: int, rounds: int) -> Outcome:
    home = Path(tempfile.mkdtemp(prefix="threadwax-chaos-"))
    tell = _say if options.verbose else lambda _: None
    campaign: Campaign
    with_power_cuts = options.faults is None and number % POWER_EVERY == POWER_EVERY - 1
    if with_power_cuts and not why_not():
        campaign = PowerCampaign(options.seed, number, rounds, home, tell=tell)
    else:
        campaign = Campaign(options.seed, number, rounds, home, faults=options.faults, tell=tell)
    try:
        outcome = asyncio.run(campaign.run())
        if with_power_cuts and why_not():
            outcome.left_out.add("power cuts")
        if outcome.violations:
            _tell_failure(options, campaign, outcome)
            logs = RESULTS / f"{options.seed}-campaign-{number}-logs"
            shutil.rmtree(logs, ignore_errors=True)
            shutil.copytree(home / "logs", logs)
            _say(f"logs: {logs}")
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return outcome


def _tell_failure(options: argparse.Namespace, campaign: Campaign, outcome: Outcome) -> None:
    at = outcome.failed_round
    _say(f"\nVIOLATED: seed {options.seed}, campaign {outcome.campaign}, "
         f"{'its last questions or logs' if at is None else f'round {at}'}")  # fmt: skip
    if at is not None:
        for one in campaign.plan[max(0, at - 1) : at + 1]:
            _say(f"  {one}")
    for violation in outcome.violations[:30]:
        _say(f"  - {violation}")
    faults = "" if options.faults is None else f" --faults {','.join(options.faults) or 'none'}"
    _say(
        f"again: python -m tests.chaos --seed {options.seed} --campaign {outcome.campaign} "
        f"--campaign-rounds {options.campaign_rounds}{faults}"
    )


@dataclass
class Total:
    """All campaigns so far, written after each, so that a run that is stopped leaves its counts."""

    seed: int
    rounds: int = 0
    took_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    violated: list[Outcome] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)

    @property
    def path(self) -> Path:
        return RESULTS / f"{self.seed}.json"

    def add(self, outcome: Outcome) -> None:
        self.rounds += outcome.rounds
        self.took_s += outcome.took_s
        self.counts += outcome.counts
        self.left_out |= outcome.left_out
        if outcome.violations:
            self.violated.append(outcome)

    def write(self) -> None:
        result = {
            "seed": self.seed, "rounds": self.rounds, "took_s": round(self.took_s, 1),
            "s_a_round": round(self.took_s / max(self.rounds, 1), 2),
            "left_out": sorted(self.left_out), "counts": dict(sorted(self.counts.items())),
            "violated": [
                {"campaign": o.campaign, "round": o.failed_round, "violations": o.violations}
                for o in self.violated
            ],
        }  # fmt: skip
        RESULTS.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(result, indent=2) + "\n")

    def tell(self) -> None:
        for name, count in sorted(self.counts.items()):
            _say(f"  {count:6} {name}")
        if self.left_out:
            left_out = ", ".join(sorted(self.left_out))
            _say(f"LEFT OUT, since this machine does not permit it: {left_out}")
        _say(f"seed {self.seed}: {self.rounds} rounds in {self.took_s:.0f} s, "
             f"{len(self.violated)} campaigns violated; {self.path}")  # fmt: skip


def main() -> int:
    """Runs the campaigns; 1 if a rule was violated."""
    options = _options()
    if options.plan:
        for number, rounds in _campaigns(options):
            _say(f"campaign {number}")
            for one in campaign_plan(options.seed, number, rounds, faults=options.faults):
                _say(str(one))
        return 0
    # So that a stop from outside, too, ends what was started.
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background has it ignored
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # connections break all the time
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    total = Total(options.seed)
    for number, rounds in _campaigns(options):
        outcome = _run(options, number, rounds)
        total.add(outcome)
        total.write()
        state = f"{len(outcome.violations)} VIOLATIONS" if outcome.violations else "ok"
        _say(
            f"seed {options.seed} campaign {number}: {outcome.rounds} rounds, "
            f"{outcome.took_s:.0f} s, {state}"
        )
    total.tell()
    return 1 if total.violated else 0


if __name__ == "__main__":
    sys.exit(main())
