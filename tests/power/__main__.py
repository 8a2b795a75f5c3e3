"""`make power SEED=... ROUNDS=...`: cut the power while people talk, and check what they saw."""

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final, get_args

from tests.chaos.campaign import Outcome
from tests.chaos.command import (
    keep_logs,
    options_of,
    parser_of,
    report_violations,
    run_all,
    say,
)
from tests.power.machines import Layout
from tests.power.mounts import why_not
from tests.power.rounds import PowerCampaign

RESULTS: Final = Path("build/power")
CAMPAIGN_ROUNDS: Final = 10

DESCRIPTION: Final = """\
Real processes (nats-server, dataflow, Slack and Discord adapters, gateway) keep their data on disks
that lose unsynced data when the power fails. In each round people talk, all processes on a machine
are killed at a random moment, its disk returns to a state that a real disk can have then, and
everything restarts. The checker of the chaos suite judges what people saw. See docs/power.md.

examples:
  python -m tests.power --seed 7 --rounds 100      ten campaigns of ten rounds
  python -m tests.power --seed 7 --campaign 3      only the fourth campaign

The seed decides who says what, when the power fails and what the disks lose. It does not decide how
real processes interleave.
"""


def _options() -> argparse.Namespace:
    parser = parser_of(
        "python -m tests.power", DESCRIPTION, rounds=2 * CAMPAIGN_ROUNDS, size=CAMPAIGN_ROUNDS
    )
    parser.add_argument("--layout", choices=get_args(Layout), help="default: drawn at random")
    parser.add_argument("--quiet", action="store_true", help="print only one line per campaign")
    return options_of(parser)


def _run(options: argparse.Namespace, number: int, rounds: int) -> Outcome:
    home = Path(tempfile.mkdtemp(prefix="threadwax-power-"))
    campaign = PowerCampaign(
        options.seed, number, rounds, home, layout=options.layout,
        report=(lambda _: None) if options.quiet else say,
    )  # fmt: skip
    say(f"seed {options.seed} campaign {number}: {campaign.layout}")
    try:
        outcome = asyncio.run(campaign.run())
        if outcome.violations:
            _report(options, campaign, outcome)
            keep_logs(home, RESULTS, outcome, options.seed)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return outcome


def _report(options: argparse.Namespace, campaign: PowerCampaign, outcome: Outcome) -> None:
    def before(at: int) -> list[str]:
        round_ = campaign.plan[at]
        return [str(round_), *map(str, campaign.cuts(round_)[0])]

    layout = f" --layout '{options.layout}'" if options.layout else ""
    report_violations(
        outcome,
        options.seed,
        before=before,
        again=f"python -m tests.power --seed {options.seed} --campaign {outcome.campaign} "
        f"--campaign-rounds {options.campaign_rounds}{layout}",
    )


def main() -> int:
    """Runs the campaigns.

    Returns the exit code: 1 if a rule was violated, 2 if they cannot run here.
    """
    options = _options()
    if reason := why_not():
        say(reason)
        return 2
    return run_all(options, RESULTS, lambda number, rounds: _run(options, number, rounds))


if __name__ == "__main__":
    sys.exit(main())
