"""`make chaos SEED=... ROUNDS=...`: inject faults while people talk, and check what they saw."""

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.chaos.campaign import Campaign, Outcome
from tests.chaos.command import (
    campaigns_of,
    keep_logs,
    options_of,
    parser_of,
    report_violations,
    run_all,
    say,
)
from tests.chaos.fault_plan import KINDS
from tests.chaos.plan import campaign_plan
from tests.power.mounts import why_not
from tests.power.rounds import PowerCampaign

POWER_EVERY: Final = 5
"""Every fifth campaign has power cuts and no other faults (docs/power.md)."""

RESULTS: Final = Path("build/chaos")
CAMPAIGN_ROUNDS: Final = 20

DESCRIPTION: Final = """\
Real processes (nats-server, dataflow, recorder, Slack and Discord adapters, gateway, web page) run
against a fake Slack, a fake Discord and a fake model. In each round people talk while one to three
faults are injected. After the faults have ended, a checker judges what people saw. A campaign is a
number of rounds on one system.

examples:
  python -m tests.chaos --seed 7 --rounds 100        five campaigns of 20 rounds
  python -m tests.chaos --seed 7 --rounds 40 --plan  print the plan and run nothing
  python -m tests.chaos --seed 7 --campaign 3        only the fourth campaign
  python -m tests.chaos --faults kill,term           inject only these faults
  python -m tests.chaos --faults none                inject no faults

The seed decides who says what and when, and which faults are injected when. It does not decide how
real processes interleave, so reproducing a violation may take two or three runs of its campaign.
docs/chaos.md lists the faults and the rules.
"""


def _options() -> argparse.Namespace:
    parser = parser_of(
        "python -m tests.chaos", DESCRIPTION, rounds=CAMPAIGN_ROUNDS, size=CAMPAIGN_ROUNDS
    )
    parser.add_argument("--faults", help=f"some of: {', '.join(KINDS)}; or none")
    parser.add_argument("--plan", action="store_true", help="print the plan and run nothing")
    parser.add_argument("--verbose", action="store_true", help="print a line after each round")
    options = options_of(parser)
    if options.faults is not None:
        options.faults = [f for f in options.faults.split(",") if f != "none"]
        if unknown := set(options.faults) - KINDS.keys():
            parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    return options


def _run(options: argparse.Namespace, number: int, rounds: int) -> Outcome:
    home = Path(tempfile.mkdtemp(prefix="threadwax-chaos-"))
    report = say if options.verbose else lambda _: None
    campaign: Campaign
    with_power_cuts = options.faults is None and number % POWER_EVERY == POWER_EVERY - 1
    if with_power_cuts and not why_not():
        campaign = PowerCampaign(options.seed, number, rounds, home, report=report)
    else:
        campaign = Campaign(
            options.seed, number, rounds, home, faults=options.faults, report=report
        )
    try:
        outcome = asyncio.run(campaign.run())
        if with_power_cuts and why_not():
            outcome.left_out.add("power cuts")
        if outcome.violations:
            _report(options, campaign, outcome)
            keep_logs(home, RESULTS, outcome, options.seed)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return outcome


def _report(options: argparse.Namespace, campaign: Campaign, outcome: Outcome) -> None:
    faults = "" if options.faults is None else f" --faults {','.join(options.faults) or 'none'}"
    report_violations(
        outcome,
        options.seed,
        before=lambda at: list(map(str, campaign.plan[max(0, at - 1) : at + 1])),
        again=f"python -m tests.chaos --seed {options.seed} --campaign {outcome.campaign} "
        f"--campaign-rounds {options.campaign_rounds}{faults}",
    )


def main() -> int:
    """Runs the campaigns. Returns the exit code: 1 if a rule was violated."""
    options = _options()
    if options.plan:
        for number, rounds in campaigns_of(options):
            say(f"campaign {number}")
            for round_ in campaign_plan(options.seed, number, rounds, faults=options.faults):
                say(str(round_))
        return 0
    return run_all(options, RESULTS, lambda number, rounds: _run(options, number, rounds))


if __name__ == "__main__":
    sys.exit(main())
