"""`make power SEED=... ROUNDS=...`: the power goes while people talk, and a checker judges."""

import argparse
import asyncio
import logging
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final, get_args

import structlog

from tests.chaos.__main__ import Total
from tests.chaos.campaign import Outcome
from tests.power.machines import Layout
from tests.power.mounts import why_not
from tests.power.rounds import PowerCampaign

RESULTS: Final = Path("build/power")
CAMPAIGN_ROUNDS: Final = 10

TEACHES: Final = """\
Real processes (nats-server, dataflow, Slack and Discord adapters, gateway) keep their data on disks
that lose whatever was not synced when the power goes. In each round people speak, all processes on
a machine are killed at a random moment, its disk goes back to what a disk may hold then, and
everything starts again; a checker reads what people saw. docs/power.md says more.

examples:
  python -m tests.power --seed 7 --rounds 100      ten campaigns of ten rounds
  python -m tests.power --seed 7 --campaign 3      the fourth campaign again, by itself

The seed decides who says what, when the power goes and what the disks lose. How real processes
interleave is not decided by it.
"""


class PowerTotal(Total):
    """All campaigns so far."""

    @property
    def path(self) -> Path:
        return RESULTS / f"{self.seed}.json"

    def write(self) -> None:
        RESULTS.mkdir(parents=True, exist_ok=True)
        super().write()


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  (it is a command)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.power", description=TEACHES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--seed", type=int, help="by default drawn, and printed")
    parser.add_argument("--rounds", type=int, default=2 * CAMPAIGN_ROUNDS)
    parser.add_argument("--campaign", type=int, help="only this one, counted from 0")
    parser.add_argument(
        "--campaign-rounds", type=int, default=CAMPAIGN_ROUNDS, metavar="N",
        help=f"rounds on one set of machines; by default {CAMPAIGN_ROUNDS}",
    )  # fmt: skip
    parser.add_argument("--layout", choices=get_args(Layout), help="by default drawn")
    parser.add_argument("--quiet", action="store_true", help="one line for each campaign only")
    options = parser.parse_args()
    options.seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    return options


def _run(options: argparse.Namespace, number: int, rounds: int) -> Outcome:
    home = Path(tempfile.mkdtemp(prefix="threadwax-power-"))
    campaign = PowerCampaign(
        options.seed, number, rounds, home, layout=options.layout,
        tell=(lambda _: None) if options.quiet else _say,
    )  # fmt: skip
    _say(f"seed {options.seed} campaign {number}: {campaign.layout}")
    try:
        outcome = asyncio.run(campaign.run())
        if outcome.violations:
            _tell_failure(options, campaign, outcome)
            logs = RESULTS / f"{options.seed}-campaign-{number}-logs"
            shutil.rmtree(logs, ignore_errors=True)
            shutil.copytree(home / "logs", logs)
            _say(f"logs: {logs}")
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return outcome


def _tell_failure(options: argparse.Namespace, campaign: PowerCampaign, outcome: Outcome) -> None:
    at = outcome.failed_round
    where = "its last questions or logs" if at is None else f"round {at}"
    _say(f"\nVIOLATED: seed {options.seed}, campaign {outcome.campaign}, {where}")
    if at is not None:
        _say(f"  {campaign.plan[at]}")
        for cut in campaign.cuts(campaign.plan[at])[0]:
            _say(f"  {cut}")
    for violation in outcome.violations[:30]:
        _say(f"  - {violation}")
    layout = f" --layout '{options.layout}'" if options.layout else ""
    _say(
        f"again: python -m tests.power --seed {options.seed} --campaign {outcome.campaign} "
        f"--campaign-rounds {options.campaign_rounds}{layout}"
    )


def _campaigns(options: argparse.Namespace) -> list[tuple[int, int]]:
    """Number and rounds of each campaign."""
    size = options.campaign_rounds
    if options.campaign is not None:
        return [(options.campaign, size)]
    starts = range(0, options.rounds, size)
    return [(start // size, min(size, options.rounds - start)) for start in starts]


def main() -> int:
    """Runs the campaigns; 1 if a rule was violated, 2 if this machine cannot run them."""
    options = _options()
    if reason := why_not():
        _say(reason)
        return 2
    # So that a stop from outside, too, ends what was started and unmounts the disks.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # connections break all the time
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    total = PowerTotal(options.seed)
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
