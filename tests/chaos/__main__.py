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
import time
from collections import Counter
from pathlib import Path
from typing import Final

import structlog

from tests.chaos.campaign import Campaign, Outcome
from tests.chaos.fault_plan import KINDS
from tests.chaos.plan import campaign_plan

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
    campaign = Campaign(
        options.seed, number, rounds, home, faults=options.faults,
        tell=_say if options.verbose else lambda _: None,
    )  # fmt: skip
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
    started = time.monotonic()
    counts: Counter[str] = Counter()
    violated: list[dict[str, object]] = []
    left_out: set[str] = set()
    rounds_run = 0
    for number, rounds in _campaigns(options):
        outcome = _run(options, number, rounds)
        counts += outcome.counts
        rounds_run += outcome.rounds
        left_out |= outcome.left_out
        if outcome.violations:
            violated.append(
                {
                    "campaign": number,
                    "round": outcome.failed_round,
                    "violations": outcome.violations,
                }
            )
        state = f"{len(outcome.violations)} VIOLATIONS" if outcome.violations else "ok"
        _say(
            f"seed {options.seed} campaign {number}: {outcome.rounds} rounds, "
            f"{outcome.took_s:.0f} s, {state}"
        )
    took_s = time.monotonic() - started
    result = {
        "seed": options.seed, "rounds": rounds_run, "took_s": round(took_s, 1),
        "s_a_round": round(took_s / max(rounds_run, 1), 2), "left_out": sorted(left_out),
        "counts": dict(sorted(counts.items())), "violated": violated,
    }  # fmt: skip
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{options.seed}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    for name, count in sorted(counts.items()):
        _say(f"  {count:6} {name}")
    if left_out:
        _say(f"LEFT OUT, since this machine does not permit it: {', '.join(sorted(left_out))}")
    _say(f"seed {options.seed}: {rounds_run} rounds in {took_s:.0f} s, "
         f"{len(violated)} campaigns violated; {path}")  # fmt: skip
    return 1 if violated else 0


if __name__ == "__main__":
    sys.exit(main())
